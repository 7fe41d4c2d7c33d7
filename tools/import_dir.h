/*
 * The numbered files of a directory: PREFIX N SUFFIX, N decimal, in the order of their numbers.
 */
#ifndef SC_TOOLS_IMPORT_DIR_H
#define SC_TOOLS_IMPORT_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/status.h"

struct sc_import_file {
    char *name; /* owned by the listing; without the directory */
    uint64_t number;
    uint64_t size; /* in bytes, when it was listed */
    mode_t mode;
};

struct sc_import_dir {
    char *path; /* owned */
    struct sc_import_file *files; /* owned; by number, equal ones by name */
    size_t count;
    uint64_t size; /* of all files */
};

/* Lists the regular files of the directory that are named so; there may be none. On failure `why`
 * has the sentence and nothing is to be freed. */
enum sc_status sc_import_dir_list(struct sc_import_dir *dir, const char *path, const char *prefix,
                                  const char *suffix, char *why);

/* True when there is at least one such file. */
bool sc_import_dir_has(const char *path, const char *prefix, const char *suffix);

/* Writes the path of a file in the directory into `buffer` (PATH_MAX bytes). False when it does
 * not fit. */
bool sc_import_dir_path(const struct sc_import_dir *dir, const char *name, char *buffer);

/* Frees the listing; accepts a zeroed one. */
void sc_import_dir_fini(struct sc_import_dir *dir);

#endif

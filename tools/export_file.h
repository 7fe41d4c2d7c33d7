/*
 * The file that an export writes: standard output, a device or pipe as it is, or a temporary file
 * that replaces the named one when it is complete and on the disk, never before.
 */
#ifndef SC_TOOLS_EXPORT_FILE_H
#define SC_TOOLS_EXPORT_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "common/status.h"

/* Readable: stream, path. */
struct sc_export_file {
    FILE *stream;
    const char *path; /* kept; NULL: standard output */
    char *temporary; /* owned; NULL: written in place */
    int error; /* of the first write that failed, as errno; 0: none */
};

/* Opens it; "-" is `standard`. False, with the sentence, when it cannot be written. */
bool sc_export_file_open(struct sc_export_file *file, const char *path, FILE *standard, char *why);

/* Appends; what fails is remembered and told by the close. False when writing fails or has failed.
 */
bool sc_export_file_write(struct sc_export_file *file, const void *data, size_t size);

/* Ends it: keeps it when all went well (`good`), else removes what was written. False, with the
 * sentence, when keeping it failed. */
bool sc_export_file_close(struct sc_export_file *file, bool good, char *why);

#endif

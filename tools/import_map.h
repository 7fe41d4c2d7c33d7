/*
 * A file mapped into memory for reading.
 *
 * The bytes are the file's own: nothing is copied, and a file of any size costs no memory. What is
 * there is the size at the time of mapping; a file that is cut short while it is mapped, or that
 * its disk cannot read, ends the process with SIGBUS (the import command says so in a sentence).
 */
#ifndef SC_TOOLS_IMPORT_MAP_H
#define SC_TOOLS_IMPORT_MAP_H

#include "common/buf.h"
#include "common/status.h"

struct sc_import_map {
    const uint8_t *data; /* never NULL while mapped, also of an empty file */
    size_t size;
};

/* Maps a regular file. SC_NOTFOUND when there is none, else SC_IO, with the sentence in `why` and
 * nothing to be freed. */
enum sc_status sc_import_map_open(struct sc_import_map *map, const char *path, char *why);

/* Accepts a zeroed map. */
void sc_import_map_close(struct sc_import_map *map);

#endif

/*
 * Reading records from files of other stores and tools, one after the other.
 *
 * A format is a struct of functions; the import command knows nothing of any in particular. A
 * record that makes no sense is told as bad and reading goes on behind it; only when the file
 * itself cannot be read does it end early. Files are only ever opened for reading.
 */
#ifndef SC_TOOLS_IMPORT_H
#define SC_TOOLS_IMPORT_H

#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

/* One record. The slices are valid until the next is read. */
struct sc_import_record {
    struct sc_slice key;
    struct sc_slice value; /* encoded msgpack */
    uint64_t ttl_ms; /* 0: does not expire */
    uint64_t number; /* where it is: for JSON lines the line, from 1; set for bad ones too */
};

enum sc_import_result {
    SC_IMPORT_RECORD, /* here is one */
    SC_IMPORT_BAD, /* what comes next is no record: `why` says why, `record` its number and,
                      if it could be read, its key (else empty) */
    SC_IMPORT_END, /* there is nothing more */
    SC_IMPORT_FAILED, /* the file cannot be read on: `why` says why */
};

struct sc_import_reader; /* of the format's own kind */

struct sc_import_format {
    const char *name; /* for --format */
    const char *unit; /* what `number` counts: "line" */

    /* Opens a file ("-": standard input). NULL on failure, with the sentence in `why`. */
    struct sc_import_reader *(*open)(const char *path, char *why);
    enum sc_import_result (*next)(struct sc_import_reader *reader, struct sc_import_record *record,
                                  char *why);
    /* How far the file was read, in bytes of *size; *size is 0 when that is not known. */
    void (*position)(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size);
    void (*close)(struct sc_import_reader *reader);
};

/* A format by its name, or NULL. */
const struct sc_import_format *sc_import_format(const char *name);

/* The names of all formats, for a message: "jsonl". Static. */
const char *sc_import_format_names(void);

/* import_jsonl.c: a JSON object a line, {"key": ..., "value": ..., "ttl_ms": ...}. Empty lines are
 * skipped. */
extern const struct sc_import_format sc_import_jsonl;

#endif

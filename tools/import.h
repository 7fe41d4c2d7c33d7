/*
 * Reading records from files of other stores and tools, one after the other.
 *
 * A format is a struct of functions; the import command knows nothing of any in particular. A
 * record that makes no sense or that cannot be held exactly is told as left out, with the kind of
 * its trouble for counting, and reading goes on behind it; only when the source itself cannot be
 * read does it end early. Sources are only ever opened for reading.
 *
 * A source where later records replace earlier ones (a directory of a log-structured store) is read
 * twice: first everything, to know the newest record of each key, then what is live. Its reader
 * gives only what is live, each key once.
 */
#ifndef SC_TOOLS_IMPORT_H
#define SC_TOOLS_IMPORT_H

#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

/* What is left out, and what is only noted, by kind: these are counted and named in the report. */
#define SC_IMPORT_KIND_LIST(X)                                               \
    X(SC_IMPORT_NO_RECORD, "malformed record")                               \
    X(SC_IMPORT_EMPTY_KEY, "empty key")                                      \
    X(SC_IMPORT_LONG_KEY, "key over 65,535 bytes")                           \
    X(SC_IMPORT_KEY_TEXT, "key that is no Unicode text")                     \
    X(SC_IMPORT_VALUE_TEXT, "text with half a surrogate pair")               \
    X(SC_IMPORT_INTEGER, "integer beyond 64 bits")                           \
    X(SC_IMPORT_NESTING, "nested over 128 deep")                             \
    X(SC_IMPORT_LARGE_VALUE, "value over the limit")                         \
    X(SC_IMPORT_NO_JSON, "value that is no JSON")                            \
    X(SC_IMPORT_DAMAGED, "damaged record")                                   \
    X(SC_IMPORT_STRETCH, "damaged stretch")                                  \
    X(SC_IMPORT_REDIS_LIST, "Redis list")                                    \
    X(SC_IMPORT_REDIS_SET, "Redis set")                                      \
    X(SC_IMPORT_REDIS_ZSET, "Redis sorted set")                              \
    X(SC_IMPORT_REDIS_HASH, "Redis hash")                                    \
    X(SC_IMPORT_REDIS_STREAM, "Redis stream")                                \
    X(SC_IMPORT_REDIS_MODULE, "Redis module data")                           \
    X(SC_IMPORT_REDIS_FUNCTION, "Redis function library")                    \
    X(SC_IMPORT_OTHER_DB, "key of another Redis database")                   \
    X(SC_IMPORT_CHECKSUM, "wrong checksum of the file")                      \
    X(SC_IMPORT_TRAILING, "data behind the end")                             \
    X(SC_IMPORT_REFUSED, "refused by the store")                             \
    X(SC_IMPORT_LOST, "record that cannot be read")                          \
    /* Only ever noted: nothing is missing in the store because of these. */ \
    X(SC_IMPORT_EXPIRED, "expired key")                                      \
    X(SC_IMPORT_LONG_TTL, "expiry cut to 100 years")                         \
    X(SC_IMPORT_HARMLESS, "damage without loss")                             \
    X(SC_IMPORT_MERGED, "file of a finished merge, not read")                \
    X(SC_IMPORT_LOCKED, "directory in use")

enum sc_import_kind {
#define SC_IMPORT_KIND_ENUM(name, text) name,
    SC_IMPORT_KIND_LIST(SC_IMPORT_KIND_ENUM)
#undef SC_IMPORT_KIND_ENUM
        SC_IMPORT_KINDS /* how many there are */
};

/* The kind in words. Static. */
const char *sc_import_kind_text(enum sc_import_kind kind);

/* One record. The slices are valid until the next is read. */
struct sc_import_record {
    struct sc_slice key;
    struct sc_slice value; /* encoded msgpack */
    uint64_t ttl_ms; /* 0: does not expire ... */
    uint64_t expires_ms; /* ... or at this time, in milliseconds since 1970; 0: not either */
    /* Where it is, set for what is left out or noted too: `number` is a line from 1, or an offset
     * in bytes; `file` the name of the file in a directory, else NULL, valid until the close. */
    uint64_t number;
    const char *file;
    enum sc_import_kind kind; /* of what is left out or noted */
};

enum sc_import_result {
    SC_IMPORT_RECORD, /* here is one */
    SC_IMPORT_LEFT_OUT, /* something is not imported: `why` says why, `record` its place, kind and,
                           if it could be read, its key (else empty) */
    SC_IMPORT_NOTE, /* the same for something to know of that leaves nothing out */
    SC_IMPORT_BUSY, /* nothing yet: reading takes a while, call again */
    SC_IMPORT_END, /* there is nothing more */
    SC_IMPORT_FAILED, /* the source cannot be read on: `why` says why */
};

struct sc_import_options {
    int64_t db; /* the database of a Redis file; -1: not chosen */
    bool salvage; /* take what can be read of a file that as a whole is damaged */
};

struct sc_import_reader; /* of the format's own kind */

struct sc_import_format {
    const char *name; /* for --format */
    const char *unit; /* what `number` counts: "line", "offset" */

    /* Whether the path looks like this format. NULL: never found out by looking. */
    bool (*suits)(const char *path);
    /* Opens a file or directory (jsonl: "-" is standard input). NULL on failure, with the sentence
     * in `why`. */
    struct sc_import_reader *(*open)(const char *path, const struct sc_import_options *options,
                                     char *why);
    enum sc_import_result (*next)(struct sc_import_reader *reader, struct sc_import_record *record,
                                  char *why);
    /* How far the source was read, in bytes of *size; *size is 0 when that is not known. */
    void (*position)(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size);
    void (*close)(struct sc_import_reader *reader);
};

/* A format by its name, or NULL. */
const struct sc_import_format *sc_import_format(const char *name);

/* The format that a path looks like: what no other claims is taken for JSON lines. NULL for a
 * directory that none claims. */
const struct sc_import_format *sc_import_detect(const char *path);

/* The names of all formats, for a message. Static. */
const char *sc_import_format_names(void);

/* For formats: checks that Shardcask can hold the key of a record. SC_IMPORT_RECORD, or
 * SC_IMPORT_LEFT_OUT with the record's kind and `why`. */
enum sc_import_result sc_import_check_key(struct sc_import_record *record, char *why);

/* Likewise sets the value to the bytes, encoded as msgpack bin in the buffer. */
enum sc_import_result sc_import_set_bytes(struct sc_import_record *record, struct sc_slice bytes,
                                          struct sc_buf *encoded, char *why);

/* import_jsonl.c: a JSON object a line, {"key": ..., "value": ...} and perhaps "ttl_ms" or
 * "expires_ms". Empty lines are skipped. */
extern const struct sc_import_format sc_import_jsonl;

/* import_pybitcask.c: a directory of pybitcask, either record format or both. */
extern const struct sc_import_format sc_import_pybitcask;

/* import_basho.c: a directory of Basho's Bitcask, Riak's storage. */
extern const struct sc_import_format sc_import_basho;

/* import_rdb.c: the string keys of a Redis or Valkey RDB file. */
extern const struct sc_import_format sc_import_rdb;

#endif

/*
 * RDB, the snapshot file of Redis and Valkey.
 *
 * "REDIS" and a version of four digits (Valkey from 9.0 on: "VALKEY" and three), then items, each
 * begun by a byte: an opcode (242 to 255) or the type of a key's value, which follows the key. The
 * last opcode, 255, is followed by the CRC-64 of everything before it (zeros: none was computed)
 * from version 5 on.
 *
 * A length begins with a byte whose upper two bits say how it goes on:
 *   00  its lower six bits                         10  0x80: u32, 0x81: u64, big-endian
 *   01  its lower six bits, then a byte            11  no length: a string in another form
 * A string is its length and bytes, or in another form, told by the lower six bits: an integer of
 * 8, 16 or 32 bits, little-endian, that stands for its decimal digits; or (3) the length of
 * compressed bytes, the length that they expand to, and the bytes (LZF).
 *
 * Values other than strings are made up of lengths, strings and a few numbers of fixed width; they
 * are stepped over. A value of an unknown type ends the reading: nothing tells how long it is.
 */
#ifndef SC_TOOLS_RDB_H
#define SC_TOOLS_RDB_H

#include <stdbool.h>

#include "common/buf.h"

/* What is left of a file. */
struct sc_rdb {
    const uint8_t *start;
    const uint8_t *at; /* behind the last whole item */
    const uint8_t *end;
    unsigned version;
    bool valkey; /* by the magic: some numbers mean other things */
    uint64_t db; /* the database that the next keys are in */
};

enum sc_rdb_form { SC_RDB_PLAIN, SC_RDB_INTEGER, SC_RDB_LZF };

struct sc_rdb_string {
    enum sc_rdb_form form;
    struct sc_slice bytes; /* plain or compressed; borrows the file's */
    int32_t integer;
    uint64_t size; /* of the string that it stands for */
};

enum sc_rdb_type {
    SC_RDB_STRING,
    SC_RDB_LIST,
    SC_RDB_SET,
    SC_RDB_ZSET,
    SC_RDB_HASH,
    SC_RDB_STREAM,
    SC_RDB_MODULE,
};

struct sc_rdb_item {
    enum { SC_RDB_KEY, SC_RDB_FUNCTION, SC_RDB_MODULE_AUX, SC_RDB_END } kind;
    uint64_t offset; /* of its first byte; of a key the one of its expiry, if it has one */

    /* Of a key: */
    enum sc_rdb_type type;
    struct sc_rdb_string key;
    struct sc_rdb_string value; /* of a SC_RDB_STRING */
    uint64_t db;
    bool has_expiry;
    int64_t expire_ms; /* Unix time */
};

/* Begins to read a file. False when it is no RDB file. */
bool sc_rdb_open(struct sc_rdb *rdb, struct sc_slice bytes);

/* Reads the next item, stepping over all that is none of those above. False, with rdb->at where it
 * was and the sentence in `why`, when the file is cut off, damaged, or has something unknown. After
 * SC_RDB_END, rdb->at is behind the opcode and before the checksum. */
bool sc_rdb_next(struct sc_rdb *rdb, struct sc_rdb_item *item, char *why);

/* Appends what a string stands for to `out`; false when it is compressed and that is damaged. */
bool sc_rdb_string_put(const struct sc_rdb_string *string, struct sc_buf *out);

#endif

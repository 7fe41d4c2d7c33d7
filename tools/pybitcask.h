/*
 * pybitcask's data files: one record after the other, in either of its two formats.
 *
 * A file begins with a byte that names a format (1: protobuf, 2: JSON), but that is no promise:
 * a store that is opened in the other mode appends the other format's records, and a format byte
 * may stand between any two records. So each record is known by its own first byte. There is no
 * checksum; what keeps a reader honest is that a record has exactly one form.
 *
 *   protobuf  u32 big-endian: size of the message; the message: fields 1 key (str), 2 value (JSON
 *             text; missing in a tombstone), 3 time (varint, milliseconds), 4 deleted (varint 1, in
 *             a tombstone only), in this order, a field 1 that is empty left out
 *   JSON      {"key": text, "value": any, "timestamp": milliseconds} and a newline; in a tombstone
 *             the value is null and "deleted": true follows
 */
#ifndef SC_TOOLS_PYBITCASK_H
#define SC_TOOLS_PYBITCASK_H

#include <stdbool.h>

#include "common/buf.h"

#define SC_PYBITCASK_MODE_PROTOBUF 1u
#define SC_PYBITCASK_MODE_JSON 2u

/* A record; the slices borrow the file's bytes. */
struct sc_pybitcask_record {
    struct sc_slice key; /* UTF-8; of a JSON record the JSON string, quotes and all */
    struct sc_slice value; /* JSON text; nothing in a tombstone */
    int64_t time_ms;
    bool key_is_json;
    bool deleted;
    size_t size; /* of the whole record: the next begins behind it */
};

/* Reads the record at the beginning of `bytes`, which reach to the end of the file. False when
 * there is no whole one. Of the value only the extent is looked at: it may be no JSON after all. */
bool sc_pybitcask_read(struct sc_slice bytes, struct sc_pybitcask_record *record);

/* After something that is no record, at `from`: the offset of the next record, or bytes.size. It is
 * stricter than sc_pybitcask_read, so that nothing inside of a record that was cut off is taken for
 * one: a JSON record must begin just like pybitcask's and end with its newline. */
size_t sc_pybitcask_find(struct sc_slice bytes, size_t from);

#endif

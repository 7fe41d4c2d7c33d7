#include "tools/rdb.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/bytes.h"
#include "common/status.h"
#include "tools/lzf.h"

#define MAGIC_SIZE 9u

enum opcode {
    OPCODE_SLOT_INFO = 244, /* three lengths */
    OPCODE_FUNCTION = 245,
    OPCODE_MODULE_AUX = 247,
    OPCODE_IDLE = 248,
    OPCODE_FREQ = 249,
    OPCODE_AUX = 250,
    OPCODE_RESIZEDB = 251,
    OPCODE_EXPIRETIME_MS = 252,
    OPCODE_EXPIRETIME = 253,
    OPCODE_SELECTDB = 254,
    OPCODE_EOF = 255,
};

/* ---- Parts: each moves `at` on, and is false when the file is too short or makes no sense ---- */

static bool skip(struct sc_rdb *rdb, uint64_t size)
{
    if (size > (uint64_t)(rdb->end - rdb->at)) {
        return false;
    }
    rdb->at += size;
    return true;
}

static bool read_byte(struct sc_rdb *rdb, uint8_t *byte)
{
    if (rdb->at == rdb->end) {
        return false;
    }
    *byte = *rdb->at++;
    return true;
}

/* Reads a length, or the form of a string that has none: *form is then 0xc0 and up. */
static bool read_length_or_form(struct sc_rdb *rdb, uint64_t *length, uint8_t *form)
{
    uint8_t first = 0;
    uint8_t second = 0;
    if (!read_byte(rdb, &first)) {
        return false;
    }
    *form = 0;
    switch (first >> 6) {
    case 0:
        *length = first & 0x3f;
        return true;
    case 1:
        if (!read_byte(rdb, &second)) {
            return false;
        }
        *length = (uint64_t)(first & 0x3f) << 8 | second;
        return true;
    case 2:
        break;
    default:
        *form = first;
        return true;
    }
    const uint8_t *number = rdb->at;
    if (first == 0x80 && skip(rdb, 4)) {
        *length = sc_be32_get(number);
        return true;
    }
    if (first == 0x81 && skip(rdb, 8)) {
        *length = sc_be64_get(number);
        return true;
    }
    return false;
}

static bool read_length(struct sc_rdb *rdb, uint64_t *length)
{
    uint8_t form = 0;
    return read_length_or_form(rdb, length, &form) && form == 0;
}

static bool read_bytes(struct sc_rdb *rdb, uint64_t size, struct sc_slice *bytes)
{
    const uint8_t *from = rdb->at;
    if (!skip(rdb, size)) {
        return false;
    }
    *bytes = sc_slice(from, (size_t)size);
    return true;
}

static bool read_integer(struct sc_rdb *rdb, size_t size, struct sc_rdb_string *string)
{
    const uint8_t *at = rdb->at;
    char digits[16];
    if (!skip(rdb, size)) {
        return false;
    }
    string->form = SC_RDB_INTEGER;
    string->integer = size == 1   ? (int8_t)*at
                      : size == 2 ? (int16_t)sc_le16_get(at)
                                  : (int32_t)sc_le32_get(at);
    string->size = (uint64_t)snprintf(digits, sizeof digits, "%" PRId32, string->integer);
    return true;
}

static bool read_string(struct sc_rdb *rdb, struct sc_rdb_string *string)
{
    uint64_t length = 0;
    uint8_t form = 0;
    *string = (struct sc_rdb_string){.form = SC_RDB_PLAIN};
    if (!read_length_or_form(rdb, &length, &form)) {
        return false;
    }
    switch (form) {
    case 0:
        string->size = length;
        return read_bytes(rdb, length, &string->bytes);
    case 0xc0:
    case 0xc1:
    case 0xc2:
        return read_integer(rdb, (size_t)1 << (form - 0xc0), string);
    case 0xc3:
        string->form = SC_RDB_LZF;
        return read_length(rdb, &length) && read_length(rdb, &string->size) &&
               string->size <= sc_lzf_size_max(length) && read_bytes(rdb, length, &string->bytes);
    default:
        return false;
    }
}

/* ---- Values that are stepped over ---- */

static bool skip_lengths(struct sc_rdb *rdb, int count)
{
    uint64_t length = 0;
    while (count > 0 && read_length(rdb, &length)) {
        count--;
    }
    return count == 0;
}

static bool skip_strings(struct sc_rdb *rdb, uint64_t count)
{
    struct sc_rdb_string string;
    while (count > 0 && read_string(rdb, &string)) {
        count--;
    }
    return count == 0;
}

/* A count, and for each so many strings and then `size` bytes more. */
static bool skip_counted(struct sc_rdb *rdb, uint64_t strings, uint64_t size)
{
    uint64_t count = 0;
    if (!read_length(rdb, &count)) {
        return false;
    }
    while (count > 0 && skip_strings(rdb, strings) && skip(rdb, size)) {
        count--;
    }
    return count == 0;
}

/* A sorted set with its scores in decimal, of the oldest versions. */
static bool skip_decimal_zset(struct sc_rdb *rdb)
{
    uint64_t count = 0;
    uint8_t digits = 0;
    if (!read_length(rdb, &count)) {
        return false;
    }
    /* From 253 on: not a number, and the infinities. */
    while (count > 0 && skip_strings(rdb, 1) && read_byte(rdb, &digits) &&
           (digits >= 253 || skip(rdb, digits))) {
        count--;
    }
    return count == 0;
}

/* A count, and for each a length and so many strings. */
static bool skip_labelled(struct sc_rdb *rdb, uint64_t strings)
{
    uint64_t count = 0;
    if (!read_length(rdb, &count)) {
        return false;
    }
    while (count > 0 && skip_lengths(rdb, 1) && skip_strings(rdb, strings)) {
        count--;
    }
    return count == 0;
}

/* A module's value or data: numbers and strings, each behind its kind, up to a 0. */
static bool skip_module(struct sc_rdb *rdb)
{
    for (;;) {
        uint64_t kind = 0;
        if (!read_length(rdb, &kind)) {
            return false;
        }
        bool ok = false;
        switch (kind) {
        case 0:
            return true;
        case 1:
        case 2:
            ok = skip_lengths(rdb, 1);
            break;
        case 3:
            ok = skip(rdb, 4);
            break;
        case 4:
            ok = skip(rdb, 8);
            break;
        case 5:
            ok = skip_strings(rdb, 1);
            break;
        default:
            break;
        }
        if (!ok) {
            return false;
        }
    }
}

/* The entries that a consumer has not acknowledged: their ids, with `size` bytes and so many
 * lengths behind each. */
static bool skip_pending(struct sc_rdb *rdb, uint64_t size, int lengths)
{
    uint64_t count = 0;
    if (!read_length(rdb, &count)) {
        return false;
    }
    while (count > 0 && skip(rdb, 16 + size) && skip_lengths(rdb, lengths)) {
        count--;
    }
    return count == 0;
}

/* One consumer group of a stream in the form of version 1, 2 or 3. */
static bool skip_group(struct sc_rdb *rdb, int version)
{
    uint64_t consumers = 0;
    if (!skip_strings(rdb, 1) || !skip_lengths(rdb, version >= 2 ? 3 : 2) ||
        !skip_pending(rdb, 8, 1) || !read_length(rdb, &consumers)) {
        return false;
    }
    while (consumers > 0 && skip_strings(rdb, 1) && skip(rdb, version >= 3 ? 16 : 8) &&
           skip_pending(rdb, 0, 0)) {
        consumers--;
    }
    return consumers == 0;
}

static bool skip_stream(struct sc_rdb *rdb, int version)
{
    uint64_t groups = 0;
    if (!skip_counted(rdb, 2, 0) || !skip_lengths(rdb, version >= 2 ? 8 : 3) ||
        !read_length(rdb, &groups)) {
        return false;
    }
    while (groups > 0 && skip_group(rdb, version)) {
        groups--;
    }
    return groups == 0;
}

/* A hash whose fields have expiries of their own. */
static bool skip_expiring_hash(struct sc_rdb *rdb, uint8_t number)
{
    switch (number) {
    case 22: /* Valkey 9: field, value and time; release candidates of Redis 7.4: as 24 */
        return rdb->valkey ? skip_counted(rdb, 2, 8) : skip_labelled(rdb, 2);
    case 23: /* those candidates: as 25 */
        return skip_strings(rdb, 1);
    case 24: /* the earliest time, then for each its time, field and value */
        return skip(rdb, 8) && skip_labelled(rdb, 2);
    default: /* 25: the earliest time, a packed list */
        return skip(rdb, 8) && skip_strings(rdb, 1);
    }
}

/* Steps over the value of a type other than string, and tells what it was. *known is false for a
 * type that is not. */
static bool skip_value(struct sc_rdb *rdb, uint8_t number, enum sc_rdb_type *type, bool *known)
{
    *known = true;
    switch (number) {
    case 1:
    case 14: /* a list of packed lists */
        *type = SC_RDB_LIST;
        return skip_counted(rdb, 1, 0);
    case 18: /* each behind its kind */
        *type = SC_RDB_LIST;
        return skip_labelled(rdb, 1);
    case 10:
        *type = SC_RDB_LIST;
        return skip_strings(rdb, 1);
    case 2:
        *type = SC_RDB_SET;
        return skip_counted(rdb, 1, 0);
    case 11:
    case 20:
        *type = SC_RDB_SET;
        return skip_strings(rdb, 1);
    case 3:
        *type = SC_RDB_ZSET;
        return skip_decimal_zset(rdb);
    case 5:
        *type = SC_RDB_ZSET;
        return skip_counted(rdb, 1, 8);
    case 12:
    case 17:
        *type = SC_RDB_ZSET;
        return skip_strings(rdb, 1);
    case 4:
        *type = SC_RDB_HASH;
        return skip_counted(rdb, 2, 0);
    case 9:
    case 13:
    case 16:
        *type = SC_RDB_HASH;
        return skip_strings(rdb, 1);
    case 15:
    case 19:
    case 21:
        *type = SC_RDB_STREAM;
        return skip_stream(rdb, number == 15 ? 1 : number == 19 ? 2 : 3);
    case 7: /* the module's id first */
        *type = SC_RDB_MODULE;
        return skip_lengths(rdb, 1) && skip_module(rdb);
    case 22:
    case 23:
    case 24:
    case 25:
        *type = SC_RDB_HASH;
        *known = number != 23 || !rdb->valkey;
        return *known && skip_expiring_hash(rdb, number);
    default:
        *known = false;
        return false;
    }
}

/* ---- Items ---- */

/* Reads what stands behind an opcode. *is_item tells whether that is an item of its own; *known is
 * false for an opcode that nothing is known of. */
static bool read_opcode(struct sc_rdb *rdb, uint8_t number, struct sc_rdb_item *item, bool *is_item,
                        bool *known)
{
    const uint8_t *at = rdb->at;
    *known = true;
    *is_item = false;
    switch (number) {
    case OPCODE_SLOT_INFO:
        return skip_lengths(rdb, 3);
    case OPCODE_FUNCTION:
        *is_item = true;
        item->kind = SC_RDB_FUNCTION;
        return skip_strings(rdb, 1);
    case OPCODE_MODULE_AUX: /* the module's id, then when to load it */
        *is_item = true;
        item->kind = SC_RDB_MODULE_AUX;
        return skip_lengths(rdb, 3) && skip_module(rdb);
    case OPCODE_IDLE:
        return skip_lengths(rdb, 1);
    case OPCODE_FREQ:
        return skip(rdb, 1);
    case OPCODE_AUX:
        return skip_strings(rdb, 2);
    case OPCODE_RESIZEDB:
        return skip_lengths(rdb, 2);
    case OPCODE_EXPIRETIME_MS:
        item->has_expiry = skip(rdb, 8);
        item->expire_ms = item->has_expiry ? (int64_t)sc_le64_get(at) : 0;
        return item->has_expiry;
    case OPCODE_EXPIRETIME:
        item->has_expiry = skip(rdb, 4);
        item->expire_ms = item->has_expiry ? (int64_t)(int32_t)sc_le32_get(at) * 1000 : 0;
        return item->has_expiry;
    case OPCODE_SELECTDB:
        return read_length(rdb, &rdb->db);
    case OPCODE_EOF:
        *is_item = true;
        item->kind = SC_RDB_END;
        return true;
    default:
        *known = false;
        return false;
    }
}

/* Reads a key and its value of the type with this number. */
static bool read_key(struct sc_rdb *rdb, uint8_t number, struct sc_rdb_item *item, bool *known)
{
    item->kind = SC_RDB_KEY;
    item->type = SC_RDB_STRING;
    item->db = rdb->db;
    *known = true;
    if (!read_string(rdb, &item->key)) {
        return false;
    }
    return number == 0 ? read_string(rdb, &item->value)
                       : skip_value(rdb, number, &item->type, known);
}

/* Whether an opcode says something about the key behind it. */
static bool belongs_to_key(uint8_t number)
{
    return number == OPCODE_EXPIRETIME || number == OPCODE_EXPIRETIME_MS || number == OPCODE_IDLE ||
           number == OPCODE_FREQ;
}

bool sc_rdb_next(struct sc_rdb *rdb, struct sc_rdb_item *item, char *why)
{
    const uint8_t *begin = rdb->at;
    bool fresh = true; /* what comes next begins an item */
    for (;;) {
        const uint8_t *at = rdb->at;
        uint8_t number = 0;
        bool is_item = true;
        bool known = true;
        if (fresh) {
            *item = (struct sc_rdb_item){.offset = (uint64_t)(at - rdb->start)};
            begin = at;
        }
        bool ok = read_byte(rdb, &number);
        if (ok && number >= OPCODE_SLOT_INFO) {
            ok = read_opcode(rdb, number, item, &is_item, &known);
        } else if (ok) {
            ok = read_key(rdb, number, item, &known);
        }
        if (ok && is_item) {
            return true;
        }
        if (!ok) {
            rdb->at = begin;
            if (known) {
                sc_why(why, "cut off or damaged in what begins at offset %td", at - rdb->start);
            } else {
                sc_why(why, "something of an unknown kind (%u) at offset %td", (unsigned)number,
                       at - rdb->start);
            }
            return false;
        }
        fresh = !belongs_to_key(number);
    }
}

bool sc_rdb_open(struct sc_rdb *rdb, struct sc_slice bytes)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < MAGIC_SIZE) {
        return false;
    }
    bool valkey = memcmp(at, "VALKEY", 6) == 0;
    if (!valkey && memcmp(at, "REDIS", 5) != 0) {
        return false;
    }
    *rdb = (struct sc_rdb){
        .start = at, .at = at + MAGIC_SIZE, .end = at + bytes.size, .valkey = valkey};
    for (size_t i = valkey ? 6 : 5; i < MAGIC_SIZE; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        rdb->version = 10 * rdb->version + (unsigned)(at[i] - '0');
    }
    return true;
}

bool sc_rdb_string_put(const struct sc_rdb_string *string, struct sc_buf *out)
{
    char digits[16];
    switch (string->form) {
    case SC_RDB_PLAIN:
        sc_buf_append_slice(out, string->bytes);
        return true;
    case SC_RDB_INTEGER:
        (void)snprintf(digits, sizeof digits, "%" PRId32, string->integer);
        sc_buf_append(out, digits, (size_t)string->size);
        return true;
    case SC_RDB_LZF:
        break;
    }
    return sc_lzf_expand(string->bytes, (size_t)string->size, out);
}

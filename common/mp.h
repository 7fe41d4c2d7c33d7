/*
 * msgpack: a cursor that reads it in place, and writers that append it to a buffer.
 *
 * The cursor decodes nothing that it is not asked for: keys and values come out as slices of the
 * input, whole values are skipped by their extent. It allocates nothing and does not recurse, and
 * every length is checked against what is left before it is used. After the first failure a cursor
 * stays failed: callers may read on and check once at the end.
 *
 * Reading follows the msgpack specification: an integer may come in any width (a reader of an
 * unsigned integer takes any encoding of a non-negative one), a str or bin in any width too.
 */
#ifndef SC_COMMON_MP_H
#define SC_COMMON_MP_H

#include "common/buf.h"

/* Readable: at, end. `at` is the next byte; NULL once reading has failed. */
struct sc_mp {
    const uint8_t *at;
    const uint8_t *end;
};

enum sc_mp_type {
    SC_MP_NONE, /* at the end of the input, or failed */
    SC_MP_NIL,
    SC_MP_BOOL,
    SC_MP_UINT, /* a non-negative integer, in whichever encoding */
    SC_MP_INT, /* a negative integer */
    SC_MP_FLOAT,
    SC_MP_STR,
    SC_MP_BIN,
    SC_MP_ARRAY,
    SC_MP_MAP,
    SC_MP_EXT,
    SC_MP_INVALID, /* the byte 0xc1, or cut off in the middle of a number */
};

static inline struct sc_mp sc_mp(struct sc_slice input)
{
    const uint8_t *start = input.data;
    /* An empty input is at its end, not failed, even when its pointer is NULL. */
    static const uint8_t nothing[1];
    start = start != NULL ? start : nothing;
    return (struct sc_mp){start, start + input.size};
}

static inline bool sc_mp_failed(const struct sc_mp *mp)
{
    return mp->at == NULL;
}

/* True when everything was read without a failure. */
static inline bool sc_mp_done(const struct sc_mp *mp)
{
    return mp->at != NULL && mp->at == mp->end;
}

/* The type of the next value; reads nothing. */
enum sc_mp_type sc_mp_peek(const struct sc_mp *mp);

/* Each reads one value of that type and returns true, or fails the cursor and returns false with
 * the out-parameter untouched. Slices point into the input. sc_mp_uint takes non-negative integers,
 * sc_mp_int those that fit int64. sc_mp_bytes takes str or bin. sc_mp_array and sc_mp_map read the
 * head only and refuse a count that the rest of the input cannot hold. sc_mp_float takes float 32
 * and 64. sc_mp_ext reads a whole ext value. */
bool sc_mp_nil(struct sc_mp *mp);
bool sc_mp_bool(struct sc_mp *mp, bool *value);
bool sc_mp_uint(struct sc_mp *mp, uint64_t *value);
bool sc_mp_int(struct sc_mp *mp, int64_t *value);
bool sc_mp_float(struct sc_mp *mp, double *value);
bool sc_mp_str(struct sc_mp *mp, struct sc_slice *value);
bool sc_mp_bytes(struct sc_mp *mp, struct sc_slice *value);
bool sc_mp_array(struct sc_mp *mp, uint32_t *count);
bool sc_mp_map(struct sc_mp *mp, uint32_t *pairs);
bool sc_mp_ext(struct sc_mp *mp, int8_t *type, struct sc_slice *value);

/* Steps over one whole value, of any kind, and stores its extent (NULL: not wanted). No depth is
 * too deep for it: it reads any well-formed message, whatever is in it. Who walks through a value
 * by recursion reads it with sc_mp_value or checks it with sc_mp_valid before. */
bool sc_mp_skip(struct sc_mp *mp, struct sc_slice *raw);

/* The same for a value that may be stored: nested at most SC_NESTING_MAX deep. A scalar has depth
 * 0, an array or map one more than what is deepest in it, an empty one depth 1. */
bool sc_mp_value(struct sc_mp *mp, struct sc_slice *raw);

/* True when `input` is exactly one well-formed value nested at most SC_NESTING_MAX deep. */
bool sc_mp_valid(struct sc_slice input);

/* Writers append the shortest encoding (a float has always 64 bits). */
void sc_mp_put_nil(struct sc_buf *out);
void sc_mp_put_bool(struct sc_buf *out, bool value);
void sc_mp_put_uint(struct sc_buf *out, uint64_t value);
void sc_mp_put_int(struct sc_buf *out, int64_t value);
void sc_mp_put_float(struct sc_buf *out, double value);
void sc_mp_put_str(struct sc_buf *out, struct sc_slice value);
void sc_mp_put_cstr(struct sc_buf *out, const char *text);
void sc_mp_put_bin(struct sc_buf *out, struct sc_slice value);
void sc_mp_put_array(struct sc_buf *out, uint32_t count);
void sc_mp_put_map(struct sc_buf *out, uint32_t pairs);
void sc_mp_put_ext(struct sc_buf *out, int8_t type, struct sc_slice value);

/* A member of a map whose value is a number. */
void sc_mp_put_member(struct sc_buf *out, const char *name, uint64_t value);

/* An array head whose count is not known yet: sc_mp_open_array appends one of fixed width
 * (array 32) and returns its offset in `out`; sc_mp_close_array fills in the count. */
size_t sc_mp_open_array(struct sc_buf *out);
void sc_mp_close_array(struct sc_buf *out, size_t offset, uint32_t count);

#endif

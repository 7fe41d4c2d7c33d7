#include "common/mp.h"

#include <assert.h>

#include "common/bytes.h"
#include "common/limits.h"

/* Head bytes of the msgpack specification. Families of widths are consecutive. */
enum {
    FIXMAP = 0x80,
    FIXARRAY = 0x90,
    FIXSTR = 0xa0,
    NIL = 0xc0,
    NEVER_USED = 0xc1,
    FALSE = 0xc2,
    TRUE = 0xc3,
    BIN8 = 0xc4,
    BIN32 = 0xc6,
    EXT8 = 0xc7,
    EXT32 = 0xc9,
    FLOAT32 = 0xca,
    FLOAT64 = 0xcb,
    UINT8 = 0xcc,
    UINT64 = 0xcf,
    INT8 = 0xd0,
    INT64 = 0xd3,
    FIXEXT1 = 0xd4,
    FIXEXT16 = 0xd8,
    STR8 = 0xd9,
    STR32 = 0xdb,
    ARRAY16 = 0xdc,
    ARRAY32 = 0xdd,
    MAP16 = 0xde,
    MAP32 = 0xdf,
    NEGATIVE_FIXINT = 0xe0,
};

/* ---- Stepping over values ---- */

/* What follows the heads 0xc0 to 0xdf: a number of `width` bytes and `fixed` bytes more. The number
 * counts bytes, or, times `nests`, the values inside. */
struct shape {
    uint8_t width, fixed, nests;
};

static const struct shape shapes[32] = {
    [BIN8 - NIL] = {1, 0, 0},        [BIN8 + 1 - NIL] = {2, 0, 0},
    [BIN32 - NIL] = {4, 0, 0},       [EXT8 - NIL] = {1, 1, 0},
    [EXT8 + 1 - NIL] = {2, 1, 0},    [EXT32 - NIL] = {4, 1, 0},
    [FLOAT32 - NIL] = {0, 4, 0},     [FLOAT64 - NIL] = {0, 8, 0},
    [UINT8 - NIL] = {0, 1, 0},       [UINT8 + 1 - NIL] = {0, 2, 0},
    [UINT8 + 2 - NIL] = {0, 4, 0},   [UINT64 - NIL] = {0, 8, 0},
    [INT8 - NIL] = {0, 1, 0},        [INT8 + 1 - NIL] = {0, 2, 0},
    [INT8 + 2 - NIL] = {0, 4, 0},    [INT64 - NIL] = {0, 8, 0},
    [FIXEXT1 - NIL] = {0, 2, 0},     [FIXEXT1 + 1 - NIL] = {0, 3, 0},
    [FIXEXT1 + 2 - NIL] = {0, 5, 0}, [FIXEXT1 + 3 - NIL] = {0, 9, 0},
    [FIXEXT16 - NIL] = {0, 17, 0},   [STR8 - NIL] = {1, 0, 0},
    [STR8 + 1 - NIL] = {2, 0, 0},    [STR32 - NIL] = {4, 0, 0},
    [ARRAY16 - NIL] = {2, 0, 1},     [ARRAY32 - NIL] = {4, 0, 1},
    [MAP16 - NIL] = {2, 0, 2},       [MAP32 - NIL] = {4, 0, 2},
};

/* Reads the big-endian number of `width` bytes (0, 1, 2, 4 or 8) at `at`. */
static inline uint64_t load(const uint8_t *at, size_t width)
{
    switch (width) {
    case 1:
        return *at;
    case 2:
        return sc_be16_get(at);
    case 4:
        return sc_be32_get(at);
    case 8:
        return sc_be64_get(at);
    default:
        return 0;
    }
}

/* Steps over what follows a head byte of 0xc0 to 0xdf; as step(). */
static const uint8_t *step_wide(const uint8_t *at, const uint8_t *end, uint8_t head,
                                uint64_t *inside)
{
    const struct shape *shape = &shapes[head - NIL];
    if (head == NEVER_USED || (size_t)(end - at) < shape->width) {
        return NULL;
    }
    uint64_t number = load(at, shape->width);
    at += shape->width;
    uint64_t size = shape->fixed;
    if (shape->nests > 0) {
        *inside = number * shape->nests;
    } else {
        size += number;
    }
    return size <= (size_t)(end - at) ? at + size : NULL;
}

/* A value with nothing inside; a container may hold 0 values. */
#define LEAF UINT64_MAX

/* Steps over a head and its own bytes and returns where that ends; *inside tells how many values
 * follow inside it. NULL when the input is cut off or invalid. */
static inline const uint8_t *step(const uint8_t *at, const uint8_t *end, uint64_t *inside)
{
    *inside = LEAF;
    if (at == end) {
        return NULL;
    }
    uint8_t head = *at++;
    if (head < FIXMAP || head >= NEGATIVE_FIXINT) {
        return at;
    }
    if (head >= FIXSTR && head < NIL) {
        size_t size = head & 31u;
        return size <= (size_t)(end - at) ? at + size : NULL;
    }
    /* As step_wide would: most values are these. */
    if ((head == BIN8 || head == STR8) && at < end) {
        size_t size = *at++;
        return size <= (size_t)(end - at) ? at + size : NULL;
    }
    if (head >= NIL) {
        return step_wide(at, end, head, inside);
    }
    *inside = head >= FIXARRAY ? head & 15u : 2 * (head & 15u);
    return at;
}

static bool fail(struct sc_mp *mp)
{
    mp->at = NULL;
    return false;
}

/* Moves the cursor to `end_of_value` (NULL: fails it) and stores what lies between. */
static bool take(struct sc_mp *mp, const uint8_t *end_of_value, struct sc_slice *raw)
{
    if (end_of_value == NULL) {
        return fail(mp);
    }
    if (raw != NULL) {
        *raw = sc_slice(mp->at, (size_t)(end_of_value - mp->at));
    }
    mp->at = end_of_value;
    return true;
}

bool sc_mp_skip(struct sc_mp *mp, struct sc_slice *raw)
{
    if (mp->at == NULL) {
        return false;
    }
    const uint8_t *at = mp->at;
    uint64_t missing = 1; /* values still to come; each has at least one byte */
    do {
        uint64_t inside;
        at = step(at, mp->end, &inside);
        missing += inside == LEAF ? 0 : inside;
        missing--;
    } while (at != NULL && missing > 0 && missing <= (size_t)(mp->end - at));
    return take(mp, missing == 0 ? at : NULL, raw);
}

bool sc_mp_value(struct sc_mp *mp, struct sc_slice *raw)
{
    if (mp->at == NULL) {
        return false;
    }
    uint64_t missing[SC_NESTING_MAX]; /* in each open container: values still to come */
    size_t depth = 0;
    const uint8_t *at = mp->at;
    do {
        uint64_t inside;
        at = step(at, mp->end, &inside);
        if (at == NULL) {
            return fail(mp);
        }
        if (inside != LEAF) {
            if (depth == SC_NESTING_MAX || inside > (size_t)(mp->end - at)) {
                return fail(mp);
            }
            missing[depth++] = inside + 1;
        }
        /* What was read completes its container, and perhaps those around it. */
        while (depth > 0 && --missing[depth - 1] == 0) {
            depth--;
        }
    } while (depth > 0);
    return take(mp, at, raw);
}

bool sc_mp_valid(struct sc_slice input)
{
    struct sc_mp mp = sc_mp(input);
    return sc_mp_value(&mp, NULL) && sc_mp_done(&mp);
}

/* ---- Reading ---- */

/* Bytes left; 0 on a failed cursor. */
static inline size_t left(const struct sc_mp *mp)
{
    return mp->at != NULL ? (size_t)(mp->end - mp->at) : 0;
}

/* The integer at the cursor: its two's complement bits, and whether it is below zero. Returns its
 * encoded size, 0 when there is none or it is cut off. */
static size_t decode_integer(const struct sc_mp *mp, uint64_t *bits, bool *negative)
{
    size_t size = left(mp);
    if (size == 0) {
        return 0;
    }
    uint8_t head = mp->at[0];
    *negative = false;
    if (head < FIXMAP) {
        *bits = head;
        return 1;
    }
    if (head >= NEGATIVE_FIXINT) {
        *bits = (uint64_t)(int64_t)(int8_t)head;
        *negative = true;
        return 1;
    }
    if (head < UINT8 || head > INT64) {
        return 0;
    }
    size_t width = (size_t)1 << (head & 3);
    if (size < 1 + width) {
        return 0;
    }
    *bits = load(mp->at + 1, width);
    if (head >= INT8) {
        unsigned unused = 64 - 8 * (unsigned)width;
        *bits = (uint64_t)((int64_t)(*bits << unused) >> unused);
        *negative = *bits >> 63 != 0;
    }
    return 1 + width;
}

enum sc_mp_type sc_mp_peek(const struct sc_mp *mp)
{
    if (left(mp) == 0) {
        return SC_MP_NONE;
    }
    uint8_t head = mp->at[0];
    uint64_t bits;
    bool negative;
    if (decode_integer(mp, &bits, &negative) > 0) {
        return negative ? SC_MP_INT : SC_MP_UINT;
    }
    if (head < NIL) {
        return head >= FIXSTR ? SC_MP_STR : head >= FIXARRAY ? SC_MP_ARRAY : SC_MP_MAP;
    }
    if (head == NIL) {
        return SC_MP_NIL;
    }
    if (head == FALSE || head == TRUE) {
        return SC_MP_BOOL;
    }
    if (head >= BIN8 && head <= BIN32) {
        return SC_MP_BIN;
    }
    if ((head >= EXT8 && head <= EXT32) || (head >= FIXEXT1 && head <= FIXEXT16)) {
        return SC_MP_EXT;
    }
    if (head == FLOAT32 || head == FLOAT64) {
        return SC_MP_FLOAT;
    }
    if (head >= STR8) {
        return head <= STR32 ? SC_MP_STR : head <= ARRAY32 ? SC_MP_ARRAY : SC_MP_MAP;
    }
    return SC_MP_INVALID;
}

bool sc_mp_nil(struct sc_mp *mp)
{
    if (left(mp) == 0 || mp->at[0] != NIL) {
        return fail(mp);
    }
    mp->at++;
    return true;
}

bool sc_mp_bool(struct sc_mp *mp, bool *value)
{
    if (left(mp) == 0 || (mp->at[0] != FALSE && mp->at[0] != TRUE)) {
        return fail(mp);
    }
    *value = *mp->at++ == TRUE;
    return true;
}

bool sc_mp_uint(struct sc_mp *mp, uint64_t *value)
{
    uint64_t bits;
    bool negative;
    size_t size = decode_integer(mp, &bits, &negative);
    if (size == 0 || negative) {
        return fail(mp);
    }
    *value = bits;
    mp->at += size;
    return true;
}

bool sc_mp_int(struct sc_mp *mp, int64_t *value)
{
    uint64_t bits;
    bool negative;
    size_t size = decode_integer(mp, &bits, &negative);
    if (size == 0 || (!negative && bits > INT64_MAX)) {
        return fail(mp);
    }
    *value = (int64_t)bits;
    mp->at += size;
    return true;
}

bool sc_mp_float(struct sc_mp *mp, double *value)
{
    size_t size = left(mp);
    if (size >= 5 && mp->at[0] == FLOAT32) {
        uint32_t bits = sc_be32_get(mp->at + 1);
        float number;
        memcpy(&number, &bits, sizeof number);
        *value = (double)number;
        mp->at += 5;
        return true;
    }
    if (size >= 9 && mp->at[0] == FLOAT64) {
        uint64_t bits = sc_be64_get(mp->at + 1);
        memcpy(value, &bits, sizeof *value);
        mp->at += 9;
        return true;
    }
    return fail(mp);
}

/* Reads `size` bytes that lie `head_size` behind the cursor. */
static bool take_bytes(struct sc_mp *mp, size_t head_size, uint64_t size, struct sc_slice *value)
{
    if (size > left(mp) - head_size) {
        return fail(mp);
    }
    *value = sc_slice(mp->at + head_size, (size_t)size);
    mp->at += head_size + (size_t)size;
    return true;
}

/* Reads bytes whose head is the first of a family (8, 16, 32 bits of length) or one behind it. */
static bool take_family(struct sc_mp *mp, uint8_t family, struct sc_slice *value)
{
    size_t width = (size_t)1 << (mp->at[0] - family);
    if (left(mp) < 1 + width) {
        return fail(mp);
    }
    return take_bytes(mp, 1 + width, load(mp->at + 1, width), value);
}

bool sc_mp_str(struct sc_mp *mp, struct sc_slice *value)
{
    if (left(mp) == 0) {
        return fail(mp);
    }
    uint8_t head = mp->at[0];
    if (head >= FIXSTR && head < NIL) {
        return take_bytes(mp, 1, head & 31u, value);
    }
    return head >= STR8 && head <= STR32 ? take_family(mp, STR8, value) : fail(mp);
}

bool sc_mp_bytes(struct sc_mp *mp, struct sc_slice *value)
{
    if (left(mp) > 0 && mp->at[0] >= BIN8 && mp->at[0] <= BIN32) {
        return take_family(mp, BIN8, value);
    }
    return sc_mp_str(mp, value);
}

/* Reads the head of an array or map, in one byte (16 values of head from `fix`) or as `wide` (16
 * bits) or the head behind that (32 bits). Each counted thing needs `least` bytes of what is left.
 */
static bool take_count(struct sc_mp *mp, uint8_t fix, uint8_t wide, unsigned least, uint32_t *count)
{
    size_t size = left(mp);
    if (size == 0) {
        return fail(mp);
    }
    uint8_t head = mp->at[0];
    size_t width = 0;
    uint64_t number = head & 15u;
    if (head == wide || head == wide + 1) {
        width = head == wide ? 2 : 4;
        if (size < 1 + width) {
            return fail(mp);
        }
        number = load(mp->at + 1, width);
    } else if ((head & 0xf0u) != fix) {
        return fail(mp);
    }
    if (number * least > size - 1 - width) {
        return fail(mp);
    }
    *count = (uint32_t)number;
    mp->at += 1 + width;
    return true;
}

bool sc_mp_array(struct sc_mp *mp, uint32_t *count)
{
    return take_count(mp, FIXARRAY, ARRAY16, 1, count);
}

bool sc_mp_map(struct sc_mp *mp, uint32_t *pairs)
{
    return take_count(mp, FIXMAP, MAP16, 2, pairs);
}

bool sc_mp_ext(struct sc_mp *mp, int8_t *type, struct sc_slice *value)
{
    size_t size = left(mp);
    if (size == 0) {
        return fail(mp);
    }
    uint8_t head = mp->at[0];
    size_t width = 0;
    uint64_t length;
    if (head >= FIXEXT1 && head <= FIXEXT16) {
        length = UINT64_C(1) << (head - FIXEXT1);
    } else if (head >= EXT8 && head <= EXT32) {
        width = (size_t)1 << (head - EXT8);
        if (size < 1 + width) {
            return fail(mp);
        }
        length = load(mp->at + 1, width);
    } else {
        return fail(mp);
    }
    if (size < 2 + width) {
        return fail(mp);
    }
    uint8_t code = mp->at[1 + width];
    if (!take_bytes(mp, 2 + width, length, value)) {
        return false;
    }
    *type = (int8_t)code;
    return true;
}

/* ---- Writing ---- */

static inline void put_byte(struct sc_buf *out, unsigned byte)
{
    *sc_buf_reserve(out, 1) = (uint8_t)byte;
    out->size++;
}

/* The width that a number needs, as the power of two of its bytes: 0 to 3. */
static inline unsigned width_of(uint64_t number)
{
    return number <= UINT8_MAX ? 0 : number <= UINT16_MAX ? 1 : number <= UINT32_MAX ? 2 : 3;
}

/* Appends a head byte and a number of 1 << `width` bytes. */
static void put_wide(struct sc_buf *out, unsigned head, unsigned width, uint64_t number)
{
    uint8_t *to = sc_buf_reserve(out, 9);
    *to++ = (uint8_t)head;
    switch (width) {
    case 0:
        *to = (uint8_t)number;
        break;
    case 1:
        sc_be16_put(to, (uint16_t)number);
        break;
    case 2:
        sc_be32_put(to, (uint32_t)number);
        break;
    default:
        sc_be64_put(to, number);
        break;
    }
    out->size += 1 + ((size_t)1 << width);
}

void sc_mp_put_nil(struct sc_buf *out)
{
    put_byte(out, NIL);
}

void sc_mp_put_bool(struct sc_buf *out, bool value)
{
    put_byte(out, value ? TRUE : FALSE);
}

void sc_mp_put_uint(struct sc_buf *out, uint64_t value)
{
    if (value < FIXMAP) {
        put_byte(out, (unsigned)value);
        return;
    }
    unsigned width = width_of(value);
    put_wide(out, UINT8 + width, width, value);
}

void sc_mp_put_int(struct sc_buf *out, int64_t value)
{
    if (value >= 0) {
        sc_mp_put_uint(out, (uint64_t)value);
    } else if (value >= -32) {
        put_byte(out, (unsigned)(value & 0xff));
    } else {
        unsigned width = value >= INT8_MIN    ? 0
                         : value >= INT16_MIN ? 1
                         : value >= INT32_MIN ? 2
                                              : 3;
        put_wide(out, INT8 + width, width, (uint64_t)value);
    }
}

void sc_mp_put_float(struct sc_buf *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_wide(out, FLOAT64, 3, bits);
}

void sc_mp_put_str(struct sc_buf *out, struct sc_slice value)
{
    assert(value.size <= UINT32_MAX);
    if (value.size < 32) {
        put_byte(out, FIXSTR + (unsigned)value.size);
    } else {
        unsigned width = width_of(value.size);
        put_wide(out, STR8 + width, width, value.size);
    }
    sc_buf_append_slice(out, value);
}

void sc_mp_put_cstr(struct sc_buf *out, const char *text)
{
    sc_mp_put_str(out, sc_slice_str(text));
}

void sc_mp_put_member(struct sc_buf *out, const char *name, uint64_t value)
{
    sc_mp_put_cstr(out, name);
    sc_mp_put_uint(out, value);
}

void sc_mp_put_bin(struct sc_buf *out, struct sc_slice value)
{
    assert(value.size <= UINT32_MAX);
    unsigned width = width_of(value.size);
    put_wide(out, BIN8 + width, width, value.size);
    sc_buf_append_slice(out, value);
}

/* Appends the head of an array or map; the heads as for take_count. */
static void put_count(struct sc_buf *out, unsigned fix, unsigned wide, uint32_t count)
{
    if (count < 16) {
        put_byte(out, fix + count);
    } else if (count <= UINT16_MAX) {
        put_wide(out, wide, 1, count);
    } else {
        put_wide(out, wide + 1, 2, count);
    }
}

void sc_mp_put_array(struct sc_buf *out, uint32_t count)
{
    put_count(out, FIXARRAY, ARRAY16, count);
}

void sc_mp_put_map(struct sc_buf *out, uint32_t pairs)
{
    put_count(out, FIXMAP, MAP16, pairs);
}

void sc_mp_put_ext(struct sc_buf *out, int8_t type, struct sc_slice value)
{
    assert(value.size <= UINT32_MAX);
    size_t size = value.size;
    if (size > 0 && size <= 16 && (size & (size - 1)) == 0) {
        put_byte(out, FIXEXT1 + (unsigned)__builtin_ctzll(size));
    } else {
        unsigned width = width_of(size);
        put_wide(out, EXT8 + width, width, size);
    }
    put_byte(out, (uint8_t)type);
    sc_buf_append_slice(out, value);
}

size_t sc_mp_open_array(struct sc_buf *out)
{
    size_t offset = out->size;
    put_wide(out, ARRAY32, 2, 0);
    return offset;
}

void sc_mp_close_array(struct sc_buf *out, size_t offset, uint32_t count)
{
    assert(offset + 5 <= out->size && out->data[offset] == ARRAY32);
    sc_be32_put(out->data + offset + 1, count);
}

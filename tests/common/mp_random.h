/* Random msgpack, well-formed with encodings of random width, and ways to damage it. */
#ifndef SC_TESTS_MP_RANDOM_H
#define SC_TESTS_MP_RANDOM_H

#include "common/buf.h"
#include "common/bytes.h"
#include "tests/random.h"

static inline void random_bytes(struct test_random *random, struct sc_buf *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)test_random_next(random);
        sc_buf_append(out, &byte, 1);
    }
}

/* A head and a big-endian number of `width` bytes, as wide as wanted, whatever the number. */
static inline void random_head(struct sc_buf *out, unsigned head, size_t width, uint64_t number)
{
    uint8_t bytes[9] = {(uint8_t)head};
    uint8_t wide[8];
    sc_be64_put(wide, number);
    memcpy(bytes + 1, wide + 8 - width, width);
    sc_buf_append(out, bytes, 1 + width);
}

static inline void random_scalar(struct test_random *random, struct sc_buf *out)
{
    unsigned width = (unsigned)test_random_below(random, 3);
    size_t size = test_random_below(random, test_random_below(random, 8) == 0 ? 300 : 12);
    size_t size_in = width == 0 ? size & 0xff : size;
    switch (test_random_below(random, 9)) {
    case 0:
        random_head(out, 0xc0, 0, 0);
        return;
    case 1:
        random_head(out, 0xc2 + (unsigned)test_random_below(random, 2), 0, 0);
        return;
    case 2: /* fixints */
        random_head(out, (unsigned)(0xe0 + test_random_below(random, 160)) & 0xff, 0, 0);
        return;
    case 3: { /* integers of 1 to 8 bytes, signed and not */
        unsigned which = (unsigned)test_random_below(random, 8);
        uint64_t number = test_random_next(random) >> test_random_below(random, 64);
        random_head(out, 0xcc + which, (size_t)1 << (which & 3), number);
        return;
    }
    case 4: { /* floats */
        unsigned which = (unsigned)test_random_below(random, 2);
        random_head(out, 0xca + which, which ? 8 : 4, test_random_next(random));
        return;
    }
    case 5:
        random_head(out, 0xa0 + (unsigned)(size % 32), 0, 0);
        random_bytes(random, out, size % 32);
        return;
    case 6:
        random_head(out, 0xd9 + width, (size_t)1 << width, size_in);
        random_bytes(random, out, size_in);
        return;
    case 7:
        random_head(out, 0xc4 + width, (size_t)1 << width, size_in);
        random_bytes(random, out, size_in);
        return;
    default:
        if (test_random_below(random, 2) == 0) {
            unsigned which = (unsigned)test_random_below(random, 5);
            random_head(out, 0xd4 + which, 0, 0);
            random_bytes(random, out, 1 + ((size_t)1 << which));
        } else {
            random_head(out, 0xc7 + width, (size_t)1 << width, size_in);
            random_bytes(random, out, 1 + size_in);
        }
        return;
    }
}

/* A value with containers nested at most `depth` deep. */
static inline void random_value(struct test_random *random, struct sc_buf *out, unsigned depth)
{
    if (depth == 0 || test_random_below(random, 3) > 0) {
        random_scalar(random, out);
        return;
    }
    size_t count = test_random_below(random, 6);
    bool map = test_random_below(random, 2) == 0;
    switch (test_random_below(random, 3)) {
    case 0:
        random_head(out, (map ? 0x80 : 0x90) + (unsigned)count, 0, 0);
        break;
    case 1:
        random_head(out, map ? 0xde : 0xdc, 2, count);
        break;
    default:
        random_head(out, map ? 0xdf : 0xdd, 4, count);
        break;
    }
    for (size_t i = 0; i < (map ? 2 * count : count); i++) {
        random_value(random, out, depth - 1);
    }
}

/* Damages 1 to 3 places: bits, bytes, a cut, something put in or taken out. */
static inline void random_damage(struct test_random *random, struct sc_buf *buf)
{
    for (uint64_t left = 1 + test_random_below(random, 3); left > 0 && buf->size > 0; left--) {
        size_t at = test_random_below(random, buf->size);
        switch (test_random_below(random, 5)) {
        case 0:
            buf->data[at] ^= (uint8_t)(1u << test_random_below(random, 8));
            break;
        case 1:
            buf->data[at] = (uint8_t)test_random_next(random);
            break;
        case 2:
            buf->size = at;
            break;
        case 3:
            memmove(buf->data + at, buf->data + at + 1, buf->size - at - 1);
            buf->size--;
            break;
        default:
            random_bytes(random, buf, 1);
            memmove(buf->data + at + 1, buf->data + at, buf->size - at - 1);
            buf->data[at] = (uint8_t)test_random_next(random);
            break;
        }
    }
}

#endif

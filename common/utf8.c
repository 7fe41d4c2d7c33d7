#include "common/utf8.h"

#include <assert.h>

/* The bytes of the sequence that begins at `at`; 0 when it is not well formed. The second byte's
 * range depends on the first (RFC 3629, section 4), the others' does not. */
static size_t sequence_size(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size > left) {
        return 0;
    }
    uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < least || at[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool sc_utf8_valid(struct sc_slice text)
{
    const uint8_t *at = text.data;
    size_t left = text.size;
    while (left > 0) {
        size_t size = sequence_size(at, left);
        if (size == 0) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}

void sc_utf8_put(struct sc_buf *out, uint32_t code_point)
{
    assert(code_point <= 0x10ffff && (code_point & 0xfffff800u) != 0xd800);
    uint8_t *to = sc_buf_reserve(out, 4);
    if (code_point < 0x80) {
        to[0] = (uint8_t)code_point;
        out->size += 1;
    } else if (code_point < 0x800) {
        to[0] = (uint8_t)(0xc0 | code_point >> 6);
        to[1] = (uint8_t)(0x80 | (code_point & 63));
        out->size += 2;
    } else if (code_point < 0x10000) {
        to[0] = (uint8_t)(0xe0 | code_point >> 12);
        to[1] = (uint8_t)(0x80 | (code_point >> 6 & 63));
        to[2] = (uint8_t)(0x80 | (code_point & 63));
        out->size += 3;
    } else {
        to[0] = (uint8_t)(0xf0 | code_point >> 18);
        to[1] = (uint8_t)(0x80 | (code_point >> 12 & 63));
        to[2] = (uint8_t)(0x80 | (code_point >> 6 & 63));
        to[3] = (uint8_t)(0x80 | (code_point & 63));
        out->size += 4;
    }
}

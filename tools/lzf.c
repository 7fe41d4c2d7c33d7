#include "tools/lzf.h"

/* What is left to read, and the room. */
struct expansion {
    const uint8_t *at;
    const uint8_t *end;
    uint8_t *start; /* of what was written */
    uint8_t *out;
    uint8_t *out_end;
};

static bool expand_literals(struct expansion *e, size_t size)
{
    if ((size_t)(e->end - e->at) < size || (size_t)(e->out_end - e->out) < size) {
        return false;
    }
    memcpy(e->out, e->at, size);
    e->at += size;
    e->out += size;
    return true;
}

static bool expand_copy(struct expansion *e, unsigned control)
{
    size_t size = control >> 5;
    if (e->end - e->at < (size == 7 ? 2 : 1)) {
        return false;
    }
    if (size == 7) {
        size += *e->at++;
    }
    size += 2;
    size_t distance = ((size_t)(control & 0x1f) << 8 | *e->at++) + 1;
    if ((size_t)(e->out - e->start) < distance || (size_t)(e->out_end - e->out) < size) {
        return false;
    }
    for (const uint8_t *from = e->out - distance; size > 0; size--) {
        *e->out++ = *from++;
    }
    return true;
}

bool sc_lzf_expand(struct sc_slice compressed, size_t size, struct sc_buf *out)
{
    if (compressed.size == 0 || size == 0) {
        return compressed.size == size;
    }
    uint8_t *start = sc_buf_reserve(out, size);
    const uint8_t *from = compressed.data;
    struct expansion e = {from, from + compressed.size, start, start, start + size};
    while (e.at < e.end) {
        unsigned control = *e.at++;
        if (!(control < 32 ? expand_literals(&e, (size_t)control + 1) : expand_copy(&e, control))) {
            return false;
        }
    }
    if (e.out != e.out_end) {
        return false;
    }
    out->size += size;
    return true;
}

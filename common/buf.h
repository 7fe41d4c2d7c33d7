/*
 * Bytes: a slice borrows them, a buffer owns them.
 *
 * A slice is a pointer and a length; it is valid as long as whoever lent the bytes says. A buffer
 * grows by doubling and keeps its memory when it is emptied, so that a buffer in steady use stops
 * allocating. Running out of memory ends the process with a message: no caller could go on.
 */
#ifndef SC_COMMON_BUF_H
#define SC_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sc_slice {
    const void *data;
    size_t size;
};

static inline struct sc_slice sc_slice(const void *data, size_t size)
{
    return (struct sc_slice){data, size};
}

static inline struct sc_slice sc_slice_str(const char *text)
{
    return (struct sc_slice){text, strlen(text)};
}

static inline bool sc_slice_equal(struct sc_slice a, struct sc_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Readable: data, size. All zero is a valid, empty buffer. */
struct sc_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

static inline struct sc_slice sc_buf_slice(const struct sc_buf *buf)
{
    return (struct sc_slice){buf->data, buf->size};
}

/* Frees the memory and leaves an empty buffer. */
void sc_buf_fini(struct sc_buf *buf);

/* Empties the buffer; keeps its memory for the next use, up to `keep` bytes of it. */
void sc_buf_reset(struct sc_buf *buf, size_t keep);

/* Slow path of sc_buf_reserve. */
void sc_buf_grow(struct sc_buf *buf, size_t more);

/* Makes room for `more` bytes behind the present end and returns a pointer to that room; the size
 * does not change. The pointer is valid until the buffer grows again. */
static inline uint8_t *sc_buf_reserve(struct sc_buf *buf, size_t more)
{
    if (buf->capacity - buf->size < more) {
        sc_buf_grow(buf, more);
    }
    return buf->data + buf->size;
}

/* Appends `size` bytes, which must not lie inside the buffer itself. */
static inline void sc_buf_append(struct sc_buf *buf, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(sc_buf_reserve(buf, size), data, size);
        buf->size += size;
    }
}

static inline void sc_buf_append_slice(struct sc_buf *buf, struct sc_slice slice)
{
    sc_buf_append(buf, slice.data, slice.size);
}

/* Removes the first `size` bytes (size <= buf->size). */
void sc_buf_consume(struct sc_buf *buf, size_t size);

/* malloc, calloc and realloc that end the process with a message when memory runs out. */
void *sc_alloc(size_t size);
void *sc_calloc(size_t count, size_t size);
void *sc_realloc(void *memory, size_t size);

#endif

#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>

static void *or_die(void *memory, size_t size)
{
    if (memory == NULL && size > 0) {
        fprintf(stderr, "out of memory: cannot allocate %zu bytes\n", size);
        abort();
    }
    return memory;
}

void *sc_alloc(size_t size)
{
    return or_die(malloc(size), size);
}

void *sc_calloc(size_t count, size_t size)
{
    return or_die(calloc(count, size), count > 0 ? size : 0);
}

void *sc_realloc(void *memory, size_t size)
{
    return or_die(realloc(memory, size), size);
}

void sc_buf_fini(struct sc_buf *buf)
{
    free(buf->data);
    *buf = (struct sc_buf){0};
}

void sc_buf_reset(struct sc_buf *buf, size_t keep)
{
    if (buf->capacity > keep) {
        sc_buf_fini(buf);
    }
    buf->size = 0;
}

void sc_buf_grow(struct sc_buf *buf, size_t more)
{
    if (more > SIZE_MAX / 2 - buf->size) { /* beyond this, doubling would overflow */
        (void)or_die(NULL, more);
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity - buf->size < more) {
        capacity *= 2;
    }
    buf->data = sc_realloc(buf->data, capacity);
    buf->capacity = capacity;
}

void sc_buf_consume(struct sc_buf *buf, size_t size)
{
    if (size < buf->size) {
        memmove(buf->data, buf->data + size, buf->size - size);
    }
    buf->size -= size;
}

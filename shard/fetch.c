#include "shard/fetch.h"

#include "common/buf.h"
#include "shard/io.h"
#include "shard/segment.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* What tests have asked for. */
static struct {
    atomic_bool hold;
    atomic_uint held;
} slow;

void sc_fetch_hold(bool hold)
{
    atomic_store(&slow.hold, hold);
}

unsigned sc_fetch_held(void)
{
    return atomic_load(&slow.held);
}

static void wait_while_held(void)
{
    const struct timespec pause = {.tv_nsec = 100000};
    atomic_fetch_add(&slow.held, 1);
    while (atomic_load(&slow.hold)) {
        (void)nanosleep(&pause, NULL);
    }
    atomic_fetch_sub(&slow.held, 1);
}

void sc_fetch_fini(struct sc_fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++) {
        struct sc_fetch_piece *piece = &fetch->pieces[i];
        assert(piece->segment->readers > 0);
        piece->segment->readers--;
        free(piece->bytes);
    }
    free(fetch->pieces);
    *fetch = (struct sc_fetch){0};
}

void sc_fetch_want(struct sc_fetch *fetch, struct sc_segment *segment, uint64_t offset, size_t size)
{
    if (fetch->count == fetch->capacity) {
        fetch->capacity = fetch->capacity == 0 ? 1 : fetch->capacity * 2;
        fetch->pieces = sc_realloc(fetch->pieces, fetch->capacity * sizeof *fetch->pieces);
    }
    fetch->pieces[fetch->count++] = (struct sc_fetch_piece){
        .segment = segment,
        .fd = segment->fd,
        .offset = offset,
        .size = size,
    };
    fetch->bytes += size;
    segment->readers++;
}

const struct sc_fetch_piece *sc_fetch_find(struct sc_fetch *fetch, const struct sc_segment *segment,
                                           uint64_t offset, size_t size)
{
    for (size_t i = 0; i < fetch->read; i++) {
        size_t at = (fetch->at + i) % fetch->read;
        const struct sc_fetch_piece *piece = &fetch->pieces[at];
        if (piece->offset == offset && piece->size == size && piece->segment == segment) {
            fetch->at = at + 1;
            return piece;
        }
    }
    return NULL;
}

void sc_fetch_read(struct sc_fetch_piece *piece)
{
    if (atomic_load_explicit(&slow.hold, memory_order_relaxed)) {
        wait_while_held();
    }
    piece->bytes = sc_alloc(piece->size);
    piece->got = sc_io_read(piece->fd, piece->bytes, piece->size, piece->offset);
    piece->error = piece->got < 0 ? errno : 0;
}

void sc_fetch_done(struct sc_fetch *fetch)
{
    fetch->read = fetch->count;
    fetch->at = 0;
}

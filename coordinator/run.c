#include "coordinator/run.h"

#include <stdlib.h>

#define KEEP_BYTES (256u << 10)
#define KEEP_ITEMS 4096u

void sc_run_fini(struct sc_run *run)
{
    sc_buf_fini(&run->bytes);
    free(run->items);
    *run = (struct sc_run){0};
}

void sc_run_reset(struct sc_run *run)
{
    sc_buf_reset(&run->bytes, KEEP_BYTES);
    run->bytes_head = 0;
    run->head = run->end = 0;
    if (run->capacity > KEEP_ITEMS) {
        free(run->items);
        run->items = NULL;
        run->capacity = 0;
    }
}

struct sc_slice sc_run_bytes(const struct sc_run *run)
{
    if (run->bytes.size == 0) {
        return sc_slice(NULL, 0);
    }
    return sc_slice(run->bytes.data + run->bytes_head, run->bytes.size - run->bytes_head);
}

static struct sc_run_item *add_item(struct sc_run *run, const struct sc_target *target)
{
    if (run->end == run->capacity) {
        run->capacity = run->capacity == 0 ? 16 : run->capacity * 2;
        run->items = sc_realloc(run->items, run->capacity * sizeof *run->items);
    }
    struct sc_run_item *item = &run->items[run->end++];
    item->target = *target;
    return item;
}

struct sc_buf *sc_run_push_begin(struct sc_run *run, const struct sc_target *target)
{
    /* Until the end is known, the size is where the encoding begins. */
    add_item(run, target)->size = run->bytes.size;
    return &run->bytes;
}

void sc_run_push_end(struct sc_run *run)
{
    struct sc_run_item *item = &run->items[run->end - 1];
    item->size = run->bytes.size - item->size;
}

static void take(struct sc_run *run, size_t count, size_t bytes)
{
    run->head += count;
    run->bytes_head += bytes;
    if (run->head == run->end) {
        sc_run_reset(run);
    } else if (run->head > run->end / 2) {
        sc_buf_consume(&run->bytes, run->bytes_head);
        run->bytes_head = 0;
        run->end -= run->head;
        memmove(run->items, run->items + run->head, run->end * sizeof *run->items);
        run->head = 0;
    }
}

void sc_run_pop(struct sc_run *run)
{
    run->bytes_head += run->items[run->head].size;
    run->head++;
}

void sc_run_move(struct sc_run *from, size_t count, struct sc_run *to)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sc_run_item *item = sc_run_item(from, i);
        add_item(to, &item->target)->size = item->size;
        bytes += item->size;
    }
    sc_buf_append(&to->bytes, sc_run_bytes(from).data, bytes);
    take(from, count, bytes);
}

size_t sc_run_sift(struct sc_run *run,
                   bool (*test)(const void *arg, const struct sc_target *target), const void *arg,
                   struct sc_run *to)
{
    size_t count = sc_run_count(run);
    size_t at = 0;
    while (at < count && !test(arg, &sc_run_item(run, at)->target)) {
        at++;
    }
    if (at == count) {
        return 0;
    }
    struct sc_run rest = {0};
    size_t before = sc_run_count(to);
    sc_run_move(run, at, &rest);
    for (; at < count; at++) {
        sc_run_move(run, 1, test(arg, &sc_run_item(run, 0)->target) ? to : &rest);
    }
    sc_run_swap(run, &rest);
    sc_run_fini(&rest);
    return sc_run_count(to) - before;
}

void sc_run_swap(struct sc_run *a, struct sc_run *b)
{
    struct sc_run kept = *a;
    *a = *b;
    *b = kept;
}

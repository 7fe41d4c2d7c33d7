#include "tests/shard/move_driver.h"

#include "shard/grant.h"

/* ---- What a move needs of its surroundings ---- */

static void pass(void *arg)
{
    struct move_end *end = arg;
    struct move_driver *d = end->driver;
    if (d->beside != NULL && !d->busy) {
        d->busy = true;
        d->beside(d->arg);
        d->busy = false;
    }
    if (d->enter != NULL) {
        d->enter(d->arg, end == &d->ends[1] ? 1 : 0);
    }
}

static bool host_sync(void *arg)
{
    struct move_end *end = arg;
    pass(end);
    return sc_bitcask_commit(end->f->store, true) == SC_OK;
}

static bool host_wait(void *arg)
{
    (void)arg;
    return false; /* what runs here runs alone */
}

struct sc_move_host move_host(struct move_end *end)
{
    return (struct sc_move_host){pass, pass, host_sync, host_wait, end};
}

/* ---- The two stores ---- */

void move_init(struct move_driver *d, struct fixture *a, struct fixture *b)
{
    *d = (struct move_driver){.ends = {{.f = a, .driver = d}, {.f = b, .driver = d}}};
}

void move_fini(struct move_driver *d)
{
    move_closing(d, 0);
    move_closing(d, 1);
    sc_buf_fini(&d->cursor);
    sc_buf_fini(&d->mark);
    sc_exporter_page_fini(&d->page);
}

void move_opened(struct move_driver *d, unsigned end)
{
    struct move_end *e = &d->ends[end];
    const struct sc_move_host host = move_host(e);
    e->exporter = sc_exporter_alloc(e->f->store, &host);
    e->importer = sc_importer_alloc(e->f->store, &host);
}

void move_closing(struct move_driver *d, unsigned end)
{
    struct move_end *e = &d->ends[end];
    sc_exporter_free(e->exporter);
    sc_importer_free(e->importer);
    e->exporter = NULL;
    e->importer = NULL;
}

/* ---- Moving ---- */

static struct sc_exporter *source(struct move_driver *d)
{
    return d->ends[d->from].exporter;
}

static struct sc_importer *target(struct move_driver *d)
{
    return d->ends[1 - d->from].importer;
}

static enum sc_status begin_import(struct move_driver *d)
{
    d->cursor.size = 0;
    d->mark.size = 0;
    return sc_importer_begin(target(d), d->move, d->slots, 0, 0, &d->cursor, &d->mark, d->why);
}

enum sc_status move_begin(struct move_driver *d, uint64_t move, unsigned from,
                          const uint8_t slots[SC_SLOT_COUNT / 8])
{
    struct sc_buf new_mark = {0};
    uint64_t keys;
    uint64_t bytes;
    d->move = move;
    d->from = from;
    memcpy(d->slots, slots, sizeof d->slots);
    enum sc_status status = begin_import(d);
    if (status == SC_OK) {
        status = sc_exporter_begin(source(d), move, slots, sc_buf_slice(&d->mark), &new_mark, &keys,
                                   &bytes, d->why);
    }
    if (status == SC_OK && d->mark.size > 0 &&
        !sc_slice_equal(sc_buf_slice(&d->mark), sc_buf_slice(&new_mark))) {
        /* The log is not what the cursor was about. */
        status = sc_importer_drop(target(d), move, d->why);
        status = status == SC_OK ? begin_import(d) : status;
    }
    if (status == SC_OK) {
        d->mark.size = 0;
        sc_buf_append_slice(&d->mark, sc_buf_slice(&new_mark));
    }
    sc_buf_fini(&new_mark);
    return status;
}

enum sc_status move_step(struct move_driver *d)
{
    enum sc_status status = sc_exporter_read(source(d), sc_buf_slice(&d->cursor), &d->page, d->why);
    if (status == SC_OK) {
        status = sc_importer_write(target(d), sc_buf_slice(&d->page.cursor), sc_buf_slice(&d->mark),
                                   sc_buf_slice(&d->page.frame), d->why);
    }
    if (status == SC_OK) {
        d->cursor.size = 0;
        sc_buf_append_slice(&d->cursor, sc_buf_slice(&d->page.cursor));
    }
    return status;
}

enum sc_status move_to_end(struct move_driver *d)
{
    for (int i = 0; i < 100000; i++) {
        enum sc_status status = move_step(d);
        if (status != SC_OK || (d->page.gap == 0 && d->page.frame.size == 0)) {
            return status;
        }
    }
    ck_abort_msg("the copy does not come to an end");
}

enum sc_status move_finish(struct move_driver *d)
{
    enum sc_status status = sc_exporter_seal(source(d), &d->seal, d->why);
    if (status == SC_OK) {
        status = move_to_end(d);
    }
    if (status == SC_OK) {
        status =
            sc_importer_finish(target(d), d->seal.count, d->seal.digest, d->seal.version, d->why);
    }
    return status;
}

enum sc_status move_abort(struct move_driver *d)
{
    enum sc_status status = sc_exporter_end(source(d), d->move, d->why);
    enum sc_status dropped = sc_importer_drop(target(d), d->move, d->why);
    return status != SC_OK ? status : dropped;
}

enum sc_status move_grant(struct move_driver *d, unsigned end, uint64_t term, uint64_t epoch,
                          const uint8_t owned[SC_SLOT_COUNT / 8])
{
    struct move_end *e = &d->ends[end];
    const struct sc_move_host host = move_host(e);
    return sc_grant_run(e->f->store, &host, term, epoch, owned, d->why);
}

#include "tests/shard/merging.h"

static void pass(struct merging *m)
{
    if (m->beside != NULL && !m->busy) {
        m->busy = true;
        m->beside(m->arg);
        m->busy = false;
    }
}

static void host_lock(void *arg)
{
    pass(arg);
}

static void host_unlock(void *arg)
{
    pass(arg);
}

static bool host_sync(void *arg)
{
    struct merging *m = arg;
    pass(m);
    return sc_bitcask_commit(m->f->store, true) == SC_OK;
}

static bool host_proceed(void *arg, uint64_t bytes)
{
    struct merging *m = arg;
    (void)bytes;
    pass(m);
    m->proceeded++;
    return m->stop_after == 0 || m->proceeded < m->stop_after;
}

void merging_init(struct merging *m, struct fixture *f)
{
    *m = (struct merging){.f = f, .options = {.dead_percent = 1}};
}

void merging_open(struct merging *m)
{
    fixture_open(m->f);
    m->merge = sc_merge_alloc(m->f->store);
    sc_merge_configure(m->merge, &m->options);
}

static void forget(struct merging *m)
{
    sc_merge_free(m->merge);
    m->merge = NULL;
}

void merging_close(struct merging *m)
{
    forget(m);
    fixture_close(m->f);
}

void merging_kill(struct merging *m)
{
    forget(m);
    fixture_kill(m->f);
}

void merging_reopen(struct merging *m)
{
    merging_close(m);
    merging_open(m);
}

enum sc_status merge_once(struct merging *m)
{
    const struct sc_merge_host host = {host_lock, host_unlock, host_sync, host_proceed, m};
    return sc_merge_run(m->merge, &host, m->why);
}

void merge_all(struct merging *m)
{
    for (int i = 0; i < 1000; i++) {
        enum sc_status status = merge_once(m);
        if (status == SC_NOTFOUND) {
            ck_assert(!sc_merge_wanted(m->merge));
            return;
        }
        ck_assert_msg(status == SC_OK || status == SC_CORRUPT, "merge: %d %s", status, m->why);
    }
    ck_abort_msg("merges do not come to an end");
}

void compact(struct merging *m)
{
    sc_merge_ask(m->merge);
    merge_all(m);
    ck_assert(!merge_figures(m).asked);
}

struct sc_merge_figures merge_figures(const struct merging *m)
{
    struct sc_merge_figures figures;
    sc_merge_figures(m->merge, &figures);
    return figures;
}

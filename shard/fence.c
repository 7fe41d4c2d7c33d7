#include "shard/fence.h"

#include "common/failpoint.h"
#include "shard/bitcask_impl.h"

/* ---- Alone ---- */

static void alone_lock(void *arg)
{
    (void)arg;
}

static bool alone_sync(void *arg)
{
    return sc_bitcask_commit(arg, true) == SC_OK;
}

static bool alone_wait(void *arg)
{
    (void)arg;
    return false; /* for whom? */
}

struct sc_move_host sc_move_host_alone(struct sc_bitcask *store)
{
    return (struct sc_move_host){alone_lock, alone_lock, alone_sync, alone_wait, store};
}

/* ---- Merges ---- */

enum sc_status sc_fence_hold(struct sc_bitcask *store, const struct sc_move_host *host, char *why)
{
    bool waits = true;
    bool merging = true;
    host->lock(host->arg);
    sc_moving_hold(store);
    merging = store->moving.merging;
    host->unlock(host->arg);
    while (merging && waits) {
        waits = host->wait(host->arg);
        host->lock(host->arg);
        merging = store->moving.merging;
        host->unlock(host->arg);
    }
    if (merging) {
        sc_fence_release(store, host);
        return sc_fail(why, SC_UNAVAILABLE, "a merge is under way");
    }
    return SC_OK;
}

void sc_fence_release(struct sc_bitcask *store, const struct sc_move_host *host)
{
    host->lock(host->arg);
    sc_moving_release(store);
    host->unlock(host->arg);
}

/* ---- The end of the log ---- */

/* Whether whatever is appended lies behind all that is there: no other file but the next one has a
 * larger number than the active one. */
static bool is_last_locked(const struct sc_bitcask *store)
{
    const struct sc_segment *active = store->writer.active;
    const struct sc_segment *next = store->writer.next;
    size_t count = sc_manifest_files(store->manifest);
    for (size_t i = 0; i < count; i++) {
        uint64_t number = sc_manifest_file(store->manifest, i).number;
        if ((active == NULL || number > active->number) &&
            (next == NULL || number != next->number)) {
            return false;
        }
    }
    return active != NULL || next == NULL;
}

/* Lets the log go on in a file of its own; that may fail because others were quicker. */
static enum sc_status raise(struct sc_bitcask *store, const struct sc_move_host *host, char *why)
{
    struct sc_segment *spare;
    enum sc_status status = sc_writer_make(&store->files, store->manifest, &spare, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("fence_made");
    host->lock(host->arg);
    (void)sc_writer_raise(&store->writer, &spare);
    host->unlock(host->arg);
    if (spare != NULL) {
        /* It stays empty, and goes with a later merge. */
        sc_manifest_settle(store->manifest, spare->number, spare->size);
        sc_segment_close(spare);
    }
    return SC_OK;
}

/* Makes the end of the log the last place of all. */
static enum sc_status make_last(struct sc_bitcask *store, const struct sc_move_host *host,
                                char *why)
{
    for (;;) {
        host->lock(host->arg);
        bool last = is_last_locked(store);
        bool failed = store->writer.failed[0] != '\0';
        bool full = !sc_bitcask_enlist(store, NULL);
        host->unlock(host->arg);
        if (failed) {
            return sc_fail(why, SC_IO, "the store takes no writes: %s", store->writer.failed);
        }
        if (last) {
            return SC_OK;
        }
        if (full) {
            return sc_fail(why, SC_IO, "%s has as many data files as a store can have",
                           store->files.path);
        }
        enum sc_status status = raise(store, host, why);
        if (status != SC_OK) {
            return status;
        }
    }
}

enum sc_status sc_fence_find(struct sc_bitcask *store, const struct sc_move_host *host,
                             struct sc_manifest_fence *fence, char *why)
{
    *fence = (struct sc_manifest_fence){0};
    enum sc_status status = make_last(store, host, why);
    if (status != SC_OK) {
        return status;
    }
    host->lock(host->arg);
    const struct sc_segment *active = store->writer.active;
    if (active != NULL) {
        *fence = (struct sc_manifest_fence){active->number, active->size - SC_RECORD_UNIT};
    }
    host->unlock(host->arg);
    if (!host->sync(host->arg)) {
        return sc_fail(why, SC_IO, "what waits could not be written");
    }
    sc_failpoint("fence_synced");
    return SC_OK;
}

#include "shard/committer.h"

#include "common/clock.h"
#include "shard/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define HOLD_LOOK_NS 1000000 /* between two looks whether commits are still held back */

struct sc_committer {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    uint64_t interval_ms; /* of periodic syncs; 0: none */
    void (*on_committed)(void *arg);
    void *arg;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    bool busy; /* a commit is under way on the thread */
    bool posted; /* the thread has been woken and has not looked yet */
    uint64_t sync_wanted;
    uint64_t sync_done;
    struct sc_ahead *ahead;
    sc_bitcask_position hold_from;
    uint64_t stalled_us;
};

static void wake(struct sc_committer *committer)
{
    if (!committer->posted) {
        committer->posted = true;
        (void)sem_post(&committer->wake);
    }
}

void sc_committer_hold(struct sc_committer *committer, sc_bitcask_position from)
{
    committer->hold_from = from;
}

uint64_t sc_committer_stalled_us(const struct sc_committer *committer)
{
    return committer->stalled_us;
}

static bool is_held(const struct sc_committer *committer)
{
    return sc_bitcask_appended(committer->store) > committer->hold_from &&
           sc_bitcask_commit_wanted(committer->store) &&
           committer->sync_wanted == committer->sync_done && !atomic_load(&committer->stopping);
}

void sc_committer_want(struct sc_committer *committer)
{
    struct sc_bitcask *store = committer->store;
    if (committer->busy || !sc_bitcask_commit_wanted(store)) {
        return; /* the commit under way is followed by another look */
    }
    if (sc_bitcask_commit_needs_sync(store) || is_held(committer)) {
        wake(committer);
        return;
    }
    (void)sc_bitcask_commit(store, false); /* a failure shows in the store's state */
    sc_ahead_poll(committer->ahead);
    committer->on_committed(committer->arg);
}

void sc_committer_tick(struct sc_committer *committer)
{
    sc_ahead_poll(committer->ahead);
}

uint64_t sc_committer_want_sync(struct sc_committer *committer)
{
    committer->sync_wanted++;
    wake(committer);
    return committer->sync_wanted;
}

uint64_t sc_committer_synced(const struct sc_committer *committer)
{
    return committer->sync_done;
}

/* Waits as long as commits are held back, at most until `deadline` (monotonic ms; 0: there is
 * none), when a sync is due. */
static void hold_back(struct sc_committer *committer, uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = HOLD_LOOK_NS};
    uint64_t begun_us = sc_clock_mono_ns() / 1000;
    uint64_t until_ms = sc_clock_mono_ms() + SC_COMMITTER_HOLD_MS;
    until_ms = deadline > 0 && deadline < until_ms ? deadline : until_ms;
    sc_sp_hub_lock(committer->hub);
    bool held = false;
    while (is_held(committer) && sc_clock_mono_ms() < until_ms) {
        held = true;
        sc_sp_hub_unlock(committer->hub);
        (void)nanosleep(&pause, NULL);
        sc_sp_hub_lock(committer->hub);
    }
    committer->stalled_us += held ? sc_clock_mono_ns() / 1000 - begun_us : 0;
    sc_sp_hub_unlock(committer->hub);
}

/* One commit on the thread. `periodic`: the interval has passed. */
static void commit_once(struct sc_committer *committer, bool periodic)
{
    sc_sp_hub_lock(committer->hub);
    committer->posted = false;
    uint64_t wanted = committer->sync_wanted;
    bool everything = periodic || wanted > committer->sync_done;
    struct sc_bitcask_commit *commit = sc_bitcask_commit_begin(committer->store, everything);
    committer->busy = commit != NULL;
    if (commit != NULL) {
        sc_sp_hub_unlock(committer->hub);
        sc_bitcask_commit_run(commit);
        sc_sp_hub_lock(committer->hub);
        (void)sc_bitcask_commit_end(committer->store, commit);
        committer->busy = false;
        sc_ahead_poll(committer->ahead);
    }
    if (everything) {
        committer->sync_done = wanted;
    }
    committer->on_committed(committer->arg);
    sc_sp_hub_unlock(committer->hub); /* its on_drained asks for what gathered meanwhile */
}

/* Waits to be woken, or until `deadline` (monotonic ms; 0: for ever); true when woken. */
static bool wait_for_work(struct sc_committer *committer, uint64_t deadline)
{
    int result;
    do {
        if (deadline == 0) {
            result = sem_wait(&committer->wake);
        } else {
            struct timespec until = {.tv_sec = (time_t)(deadline / 1000),
                                     .tv_nsec = (long)(deadline % 1000) * 1000000};
            result = sem_clockwait(&committer->wake, CLOCK_MONOTONIC, &until);
        }
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

static void *run(void *arg)
{
    struct sc_committer *committer = arg;
    uint64_t interval = committer->interval_ms;
    uint64_t due = interval > 0 ? sc_clock_mono_ms() + interval : 0;
    for (;;) {
        (void)wait_for_work(committer, due);
        if (atomic_load(&committer->stopping)) {
            return NULL;
        }
        hold_back(committer, due);
        if (atomic_load(&committer->stopping)) {
            return NULL;
        }
        bool periodic = due > 0 && sc_clock_mono_ms() >= due;
        if (periodic) {
            due = sc_clock_mono_ms() + interval;
        }
        commit_once(committer, periodic);
    }
}

enum sc_status sc_committer_start(struct sc_sp_hub *hub, struct sc_bitcask *store, int32_t sync_ms,
                                  void (*on_committed)(void *arg), void *arg,
                                  struct sc_committer **out, char *why)
{
    struct sc_committer *committer = sc_calloc(1, sizeof *committer);
    committer->hub = hub;
    committer->store = store;
    committer->interval_ms = sync_ms > 0 ? (uint64_t)sync_ms : 0;
    committer->on_committed = on_committed;
    committer->arg = arg;
    committer->hold_from = UINT64_MAX;
    enum sc_status status = sc_ahead_start(store, &committer->ahead, why);
    if (status != SC_OK) {
        free(committer);
        return status;
    }
    (void)sem_init(&committer->wake, 0, 0);
    int error = pthread_create(&committer->thread, NULL, run, committer);
    if (error != 0) {
        sc_ahead_stop(committer->ahead);
        (void)sem_destroy(&committer->wake);
        free(committer);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = committer;
    return SC_OK;
}

void sc_committer_stop(struct sc_committer *committer)
{
    if (committer == NULL) {
        return;
    }
    atomic_store(&committer->stopping, true);
    (void)sem_post(&committer->wake);
    (void)pthread_join(committer->thread, NULL);
    sc_sp_hub_lock(committer->hub);
    sc_ahead_stop(committer->ahead);
    sc_sp_hub_unlock(committer->hub);
    (void)sem_destroy(&committer->wake);
    free(committer);
}

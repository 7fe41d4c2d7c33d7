#include "shard/upkeep.h"

#include "common/clock.h"
#include "common/log.h"
#include "shard/pressure.h"
#include "shard/reap.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* All slots in about 3 seconds; a slot in which nothing can have expired costs a few nanoseconds.
 */
#define SWEEP_SLOTS_PER_TICK (SC_SLOT_COUNT / 64)
#define LOOK_TICKS 2u /* ticks between two looks whether there is something to merge */
#define RATE_RISE 16 /* times the rate when there is twice as much dead as should be */
#define RATE_SLACK (UINT64_C(64) << 20) /* dead bytes that do no harm */
#define RATE_MAX (UINT64_C(1) << 50)
#define RATE_BURST_NS UINT64_C(4000000)
#define PAUSE_NS UINT64_C(50000000) /* between two looks whether to go on */
#define SYNC_LOOK_NS UINT64_C(500000)
#define RETRY_MIN_MS UINT64_C(1000)
#define RETRY_MAX_MS UINT64_C(300000)

struct sc_upkeep {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    struct sc_committer *committer;
    struct sc_merge_host host;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;
    atomic_bool allowed; /* to merge now */
    atomic_bool reap_due; /* there are files to be removed */
    atomic_uint_least64_t rate; /* bytes per second; 0: no limit */

    /* guarded by the hub's lock */
    struct sc_merge *merge;
    struct sc_upkeep_options options;
    bool working; /* the thread has been woken and is not done */
    bool wanted; /* there is something to merge */
    bool urgent; /* more is dead than alive, and it is much */
    bool turn, paused;
    struct sc_pressure pressure;
    struct sc_pressure_figures space; /* at the last look */
    unsigned ticks;
    uint64_t retry_ms; /* not before; monotonic */
    uint64_t retry_interval_ms; /* 0: the last one did not fail */

    uint64_t due_ns; /* of the thread: what was done until now may have taken until then */
};

/* ---- What a merge needs ---- */

static void host_lock(void *arg)
{
    struct sc_upkeep *upkeep = arg;
    sc_sp_hub_lock(upkeep->hub);
}

static void host_unlock(void *arg)
{
    struct sc_upkeep *upkeep = arg;
    sc_sp_hub_unlock(upkeep->hub);
}

/* Whether somebody waits for the merge to be over. */
static bool is_urgent(const struct sc_upkeep *upkeep)
{
    return atomic_load(&upkeep->stopping) || sc_bitcask_merges_held(upkeep->store);
}

/* Sleeps, or until the thread is to stop. */
static void pause_until(struct sc_upkeep *upkeep, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    while (!atomic_load(&upkeep->stopping) &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static bool host_sync(void *arg)
{
    struct sc_upkeep *upkeep = arg;
    sc_sp_hub_lock(upkeep->hub);
    uint64_t number = sc_committer_want_sync(upkeep->committer);
    for (;;) {
        bool done = sc_committer_synced(upkeep->committer) >= number;
        bool failed = sc_bitcask_failed(upkeep->store) != NULL;
        sc_sp_hub_unlock(upkeep->hub);
        if (done || failed || atomic_load(&upkeep->stopping)) {
            return done && !failed;
        }
        pause_until(upkeep, sc_clock_mono_ns() + SYNC_LOOK_NS);
        sc_sp_hub_lock(upkeep->hub);
    }
}

/* Waits until the rate allows what was done. Another rate counts from now on. */
static void keep_rate(struct sc_upkeep *upkeep, uint64_t bytes)
{
    uint64_t rate = atomic_load(&upkeep->rate);
    uint64_t now = sc_clock_mono_ns();
    if (rate == 0) {
        upkeep->due_ns = 0;
        return;
    }
    /* Time not used is lost, but for a little. */
    uint64_t earliest = now > RATE_BURST_NS ? now - RATE_BURST_NS : 0;
    upkeep->due_ns = upkeep->due_ns > earliest ? upkeep->due_ns : earliest;
    upkeep->due_ns += (uint64_t)((double)bytes * 1e9 / (double)rate);
    while (now < upkeep->due_ns && !is_urgent(upkeep)) {
        if (atomic_load(&upkeep->rate) != rate) {
            upkeep->due_ns = now;
            return;
        }
        uint64_t left = upkeep->due_ns - now;
        pause_until(upkeep, now + (left < PAUSE_NS ? left : PAUSE_NS));
        now = sc_clock_mono_ns();
    }
}

/* Removes merged files that nobody reads any more. */
static void reap_files(struct sc_upkeep *upkeep)
{
    struct sc_reap_list list = {.count = 0};
    atomic_store(&upkeep->reap_due, false);
    sc_sp_hub_lock(upkeep->hub);
    sc_reap_take(upkeep->store, &list);
    sc_sp_hub_unlock(upkeep->hub);
    sc_reap_remove(upkeep->store, &list);
}

static bool host_proceed(void *arg, uint64_t bytes)
{
    struct sc_upkeep *upkeep = arg;
    if (atomic_load(&upkeep->reap_due)) {
        reap_files(upkeep); /* a merge may take long */
    }
    keep_rate(upkeep, bytes);
    while (!is_urgent(upkeep) && !atomic_load(&upkeep->allowed)) {
        pause_until(upkeep, sc_clock_mono_ns() + PAUSE_NS);
    }
    return !atomic_load(&upkeep->stopping);
}

/* ---- Pressure ---- */

/* The rate that was set, or more when that does not do. */
static void set_rate(struct sc_upkeep *upkeep)
{
    double rate = (double)upkeep->options.merge_bytes_per_second;
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(upkeep->store, &stats);
    upkeep->urgent = stats.dead_bytes > stats.live_bytes + RATE_SLACK || upkeep->space.pressed;
    if (stats.dead_bytes > stats.live_bytes) {
        double excess = (double)(stats.dead_bytes - stats.live_bytes);
        rate *= 1 + RATE_RISE * excess / (double)(stats.live_bytes + RATE_SLACK);
    }
    rate = upkeep->space.room == 0 ? 0 : rate; /* somebody may be waiting: no limit */
    atomic_store(&upkeep->rate, rate < (double)RATE_MAX ? (uint64_t)rate : RATE_MAX);
}

static void set_allowed(struct sc_upkeep *upkeep)
{
    atomic_store(&upkeep->allowed, !upkeep->paused && (upkeep->turn || upkeep->space.pressed));
}

/* Whether space is going to be reclaimed without anybody's help. */
static bool is_reclaiming(const struct sc_upkeep *upkeep)
{
    struct sc_merge_figures merge;
    sc_merge_figures(upkeep->merge, &merge);
    return atomic_load(&upkeep->allowed) && !sc_bitcask_merges_held(upkeep->store) &&
           (merge.running || (upkeep->wanted && sc_clock_mono_ms() >= upkeep->retry_ms));
}

/* Looks at the space that the store takes, and does what follows from it. */
static void look(struct sc_upkeep *upkeep)
{
    struct sc_merge_figures merge;
    sc_merge_figures(upkeep->merge, &merge);
    sc_pressure_look(&upkeep->pressure, upkeep->store, &merge, &upkeep->space);
    sc_merge_press(upkeep->merge, upkeep->space.pressed);
    set_allowed(upkeep);
    set_rate(upkeep);
    upkeep->wanted = sc_merge_wanted(upkeep->merge);
    sc_committer_hold(upkeep->committer,
                      is_reclaiming(upkeep)
                          ? sc_bitcask_appended(upkeep->store) + upkeep->space.room
                          : UINT64_MAX);
}

/* ---- The thread ---- */

/* Builds hints until none is missing. */
static void build_hints(struct sc_upkeep *upkeep)
{
    uint64_t number = 0;
    sc_sp_hub_lock(upkeep->hub);
    while (!atomic_load(&upkeep->stopping) && sc_bitcask_hint_pending(upkeep->store, &number)) {
        sc_sp_hub_unlock(upkeep->hub);
        enum sc_status status = sc_bitcask_hint_build(upkeep->store, number);
        sc_sp_hub_lock(upkeep->hub);
        sc_bitcask_hint_built(upkeep->store, number, status);
    }
    sc_sp_hub_unlock(upkeep->hub);
}

static bool merge_due(const struct sc_upkeep *upkeep)
{
    return upkeep->wanted && atomic_load(&upkeep->allowed) &&
           sc_clock_mono_ms() >= upkeep->retry_ms;
}

/* Notes how a merge ended. */
static void note_merge(struct sc_upkeep *upkeep, enum sc_status status, const char *why)
{
    if (status == SC_OK) {
        upkeep->retry_interval_ms = 0;
    } else if (status == SC_IO) {
        uint64_t next = upkeep->retry_interval_ms * 2;
        next = next < RETRY_MIN_MS ? RETRY_MIN_MS : next;
        upkeep->retry_interval_ms = next < RETRY_MAX_MS ? next : RETRY_MAX_MS;
        upkeep->retry_ms = sc_clock_mono_ms() + upkeep->retry_interval_ms;
        sc_log_error("a merge was given up: %s; it is tried again in %u s", why,
                     (unsigned)(upkeep->retry_interval_ms / 1000));
    } else if (status != SC_CORRUPT) {
        upkeep->wanted = false; /* until the next look */
    }
}

static void merge_files(struct sc_upkeep *upkeep)
{
    char why[SC_WHY_SIZE] = "";
    for (;;) {
        sc_sp_hub_lock(upkeep->hub);
        bool due = merge_due(upkeep) && !atomic_load(&upkeep->stopping);
        upkeep->working = due;
        sc_sp_hub_unlock(upkeep->hub);
        if (!due) {
            return;
        }
        enum sc_status status = sc_merge_run(upkeep->merge, &upkeep->host, why);
        sc_sp_hub_lock(upkeep->hub);
        note_merge(upkeep, status, why);
        if (status == SC_OK) {
            look(upkeep); /* who waits for space should not have to wait for the tick */
        }
        sc_sp_hub_unlock(upkeep->hub);
        build_hints(upkeep);
    }
}

static void *run(void *arg)
{
    struct sc_upkeep *upkeep = arg;
    for (;;) {
        while (sem_wait(&upkeep->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&upkeep->stopping)) {
            return NULL;
        }
        reap_files(upkeep);
        build_hints(upkeep);
        merge_files(upkeep);
    }
}

enum sc_status sc_upkeep_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_committer *committer,
                               const struct sc_upkeep_options *options, struct sc_upkeep **out,
                               char *why)
{
    struct sc_upkeep *upkeep = sc_calloc(1, sizeof *upkeep);
    upkeep->hub = hub;
    upkeep->store = store;
    upkeep->committer = committer;
    upkeep->host = (struct sc_merge_host){host_lock, host_unlock, host_sync, host_proceed, upkeep};
    upkeep->merge = sc_merge_alloc(store);
    upkeep->turn = true;
    upkeep->space.room = UINT64_MAX; /* until the first look */
    set_allowed(upkeep);
    sc_upkeep_configure(upkeep, options);
    (void)sem_init(&upkeep->wake, 0, 0);
    int error = pthread_create(&upkeep->thread, NULL, run, upkeep);
    if (error != 0) {
        (void)sem_destroy(&upkeep->wake);
        sc_merge_free(upkeep->merge);
        free(upkeep);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = upkeep;
    return SC_OK;
}

void sc_upkeep_stop(struct sc_upkeep *upkeep)
{
    if (upkeep == NULL) {
        return;
    }
    sc_sp_hub_lock(upkeep->hub);
    sc_committer_hold(upkeep->committer, UINT64_MAX);
    sc_sp_hub_unlock(upkeep->hub);
    atomic_store(&upkeep->stopping, true);
    (void)sem_post(&upkeep->wake);
    (void)pthread_join(upkeep->thread, NULL);
    (void)sem_destroy(&upkeep->wake);
    sc_merge_free(upkeep->merge);
    free(upkeep);
}

/* ---- With the lock ---- */

void sc_upkeep_tick(struct sc_upkeep *upkeep)
{
    uint64_t number = 0;
    (void)sc_bitcask_sweep(upkeep->store, SWEEP_SLOTS_PER_TICK);
    sc_bitcask_look(upkeep->store);
    if (upkeep->ticks++ % LOOK_TICKS == 0) {
        look(upkeep);
    }
    bool reap = sc_reap_wanted(upkeep->store);
    atomic_store(&upkeep->reap_due, reap);
    if (!upkeep->working &&
        (sc_bitcask_hint_pending(upkeep->store, &number) || merge_due(upkeep) || reap)) {
        upkeep->working = true;
        (void)sem_post(&upkeep->wake);
    }
}

void sc_upkeep_configure(struct sc_upkeep *upkeep, const struct sc_upkeep_options *options)
{
    upkeep->options = *options;
    sc_merge_configure(upkeep->merge, &options->merge);
    set_rate(upkeep);
}

void sc_upkeep_merge_allow(struct sc_upkeep *upkeep, bool allowed)
{
    upkeep->turn = allowed;
    set_allowed(upkeep);
}

void sc_upkeep_merge_pause(struct sc_upkeep *upkeep, bool paused)
{
    upkeep->paused = paused;
    set_allowed(upkeep);
    if (paused) {
        sc_committer_hold(upkeep->committer, UINT64_MAX);
    }
}

void sc_upkeep_compact(struct sc_upkeep *upkeep)
{
    sc_merge_ask(upkeep->merge);
    upkeep->wanted = true;
    upkeep->retry_ms = 0;
}

void sc_upkeep_figures(const struct sc_upkeep *upkeep, struct sc_upkeep_figures *figures)
{
    bool allowed = atomic_load(&upkeep->allowed);
    sc_merge_figures(upkeep->merge, &figures->merge);
    figures->urgent = upkeep->urgent;
    figures->disk_bytes = upkeep->space.disk;
    figures->disk_bound = upkeep->space.bound;
    figures->stalled_us = sc_committer_stalled_us(upkeep->committer);
    if (figures->merge.running) {
        figures->state = allowed ? SC_UPKEEP_MERGING : SC_UPKEEP_PAUSED;
    } else {
        figures->state = upkeep->wanted ? SC_UPKEEP_WAITING : SC_UPKEEP_IDLE;
    }
}

#include "shard/snapshots.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 64u /* pages that wait to be read */
#define REPLY_KEEP ((size_t)4 << 20)

struct open {
    uint64_t id;
    struct sc_snapshot *snapshot; /* NULL: this place is free */
    uint64_t used_ms; /* when it was last of use; monotonic */
    bool busy; /* the thread reads a page without the lock */
    bool ended; /* to be closed when that is over */
};

/* A page to be read. */
struct job {
    struct job *next;
    struct sc_sp_origin origin;
    uint64_t id;
    struct sc_buf cursor;
};

struct sc_snapshots {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    struct open open[SC_SNAPSHOTS_MAX];
    struct job *first, *last;
    size_t jobs;
    uint64_t memory_max;
    uint64_t idle_ms;

    /* of the thread */
    struct sc_snapshot_page page;
    struct sc_buf reply;
};

static struct open *find(struct sc_snapshots *snapshots, uint64_t id)
{
    for (size_t i = 0; i < SC_SNAPSHOTS_MAX; i++) {
        struct open *open = &snapshots->open[i];
        if (open->snapshot != NULL && open->id == id && !open->ended) {
            return open;
        }
    }
    return NULL;
}

static void end(struct open *open)
{
    if (open->busy) {
        open->ended = true;
    } else {
        sc_snapshot_close(open->snapshot);
        *open = (struct open){0};
    }
}

static enum sc_status no_such(uint64_t id, char *why)
{
    return sc_fail(why, SC_NOTFOUND,
                   "there is no snapshot %" PRIu64
                   " here: it was closed, nobody read from it for a while, or the shard has been "
                   "restarted since",
                   id);
}

static void answer(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, status, why);
    sc_sp_reply_end(origin);
}

/* ---- The thread ---- */

static void put_record(struct sc_buf *reply, const struct sc_snapshot_record *record)
{
    sc_mp_put_array(reply, record->status == SC_OK ? 4 : 3);
    sc_mp_put_bin(reply, record->key);
    if (record->status != SC_OK) {
        sc_mp_put_uint(reply, record->status);
        sc_mp_put_cstr(reply, record->why);
        return;
    }
    sc_buf_append_slice(reply, record->value);
    sc_mp_put_uint(reply, record->version);
    if (record->expires_ms > 0) {
        sc_mp_put_uint(reply, record->expires_ms);
    } else {
        sc_mp_put_nil(reply);
    }
}

/* Reads the page that was collected into the reply. */
static void read_page(struct sc_snapshots *snapshots)
{
    struct sc_snapshot_page *page = &snapshots->page;
    struct sc_buf *reply = &snapshots->reply;
    sc_snapshot_prefetch(page);
    sc_mp_put_array(reply, 4);
    sc_mp_put_uint(reply, SC_OK);
    if (page->end) {
        sc_mp_put_nil(reply);
    } else {
        sc_mp_put_bin(reply, sc_buf_slice(&page->next));
    }
    sc_mp_put_uint(reply, page->now_ms);
    sc_mp_put_array(reply, (uint32_t)page->count);
    for (size_t i = 0; i < page->count; i++) {
        struct sc_snapshot_record record;
        sc_snapshot_read(page, i, &record);
        put_record(reply, &record);
        if (record.status != SC_OK) {
            sc_log_error("%s", record.why);
        }
    }
}

/* Reads one page; the lock is held before and after. */
static void work(struct sc_snapshots *snapshots, struct job *job)
{
    char why[SC_WHY_SIZE];
    struct open *open = find(snapshots, job->id);
    enum sc_status status = open == NULL
                                ? no_such(job->id, why)
                                : sc_snapshot_collect(open->snapshot, sc_buf_slice(&job->cursor),
                                                      &snapshots->page, why);
    if (open == NULL || status != SC_OK) {
        sc_msg_reply_status(&snapshots->reply, status, why);
    } else {
        open->busy = true;
        sc_sp_hub_unlock(snapshots->hub);
        read_page(snapshots);
        sc_sp_hub_lock(snapshots->hub);
        sc_snapshot_note_damage(snapshots->store, &snapshots->page);
        open->busy = false;
        open->used_ms = sc_clock_mono_ms();
        if (open->ended) {
            end(open);
        }
    }
    sc_sp_reply(&job->origin, sc_buf_slice(&snapshots->reply));
    sc_buf_reset(&snapshots->reply, REPLY_KEEP);
}

static struct job *take_job(struct sc_snapshots *snapshots)
{
    struct job *job = snapshots->first;
    if (job != NULL) {
        snapshots->first = job->next;
        snapshots->jobs--;
    }
    return job;
}

static void job_free(struct job *job)
{
    sc_buf_fini(&job->cursor);
    free(job);
}

static void *run(void *arg)
{
    struct sc_snapshots *snapshots = arg;
    for (;;) {
        while (sem_wait(&snapshots->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&snapshots->stopping)) {
            return NULL;
        }
        sc_sp_hub_lock(snapshots->hub);
        struct job *job = take_job(snapshots);
        if (job != NULL) {
            work(snapshots, job);
            job_free(job);
        }
        sc_sp_hub_unlock(snapshots->hub);
    }
}

enum sc_status sc_snapshots_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                  struct sc_snapshots **out, char *why)
{
    struct sc_snapshots *snapshots = sc_calloc(1, sizeof *snapshots);
    snapshots->hub = hub;
    snapshots->store = store;
    sc_snapshots_configure(snapshots, SC_SNAPSHOTS_MEMORY_DEFAULT, SC_SNAPSHOTS_IDLE_MS_DEFAULT);
    (void)sem_init(&snapshots->wake, 0, 0);
    int error = pthread_create(&snapshots->thread, NULL, run, snapshots);
    if (error != 0) {
        (void)sem_destroy(&snapshots->wake);
        free(snapshots);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = snapshots;
    return SC_OK;
}

void sc_snapshots_stop(struct sc_snapshots *snapshots)
{
    if (snapshots == NULL) {
        return;
    }
    atomic_store(&snapshots->stopping, true);
    (void)sem_post(&snapshots->wake);
    (void)pthread_join(snapshots->thread, NULL);
    (void)sem_destroy(&snapshots->wake);
    sc_sp_hub_lock(snapshots->hub);
    for (struct job *job = take_job(snapshots); job != NULL; job = take_job(snapshots)) {
        answer(&job->origin, SC_UNAVAILABLE, "the shard is shutting down");
        job_free(job);
    }
    for (size_t i = 0; i < SC_SNAPSHOTS_MAX; i++) {
        end(&snapshots->open[i]);
    }
    sc_sp_hub_unlock(snapshots->hub);
    sc_snapshot_page_fini(&snapshots->page);
    sc_buf_fini(&snapshots->reply);
    free(snapshots);
}

/* ---- With the lock ---- */

void sc_snapshots_configure(struct sc_snapshots *snapshots, uint64_t memory_max, uint64_t idle_ms)
{
    snapshots->memory_max = memory_max;
    snapshots->idle_ms = idle_ms;
}

enum sc_status sc_snapshots_open(struct sc_snapshots *snapshots, uint64_t id, const uint8_t *owned,
                                 uint64_t *keys, sc_bitcask_position *position, char *why)
{
    sc_snapshots_forget(snapshots, id);
    for (size_t i = 0; i < SC_SNAPSHOTS_MAX; i++) {
        struct open *open = &snapshots->open[i];
        if (open->snapshot == NULL) {
            *open = (struct open){.id = id, .used_ms = sc_clock_mono_ms()};
            open->snapshot = sc_snapshot_open(snapshots->store, owned, snapshots->memory_max);
            *keys = sc_snapshot_keys(open->snapshot);
            *position = sc_snapshot_position(open->snapshot);
            return SC_OK;
        }
    }
    return sc_fail(why, SC_BUSY, "%u snapshots are open, and no more can be: try again later",
                   SC_SNAPSHOTS_MAX);
}

void sc_snapshots_page(struct sc_snapshots *snapshots, uint64_t id, struct sc_slice cursor,
                       const struct sc_sp_origin *origin)
{
    char why[SC_WHY_SIZE];
    struct open *open = find(snapshots, id);
    if (open == NULL) {
        answer(origin, no_such(id, why), why);
        return;
    }
    if (snapshots->jobs == JOBS_MAX) {
        answer(origin, SC_BUSY, "too many pages are asked for at a time");
        return;
    }
    struct job *job = sc_calloc(1, sizeof *job);
    job->origin = *origin;
    job->id = id;
    sc_buf_append_slice(&job->cursor, cursor);
    if (snapshots->first == NULL) {
        snapshots->first = job;
    } else {
        snapshots->last->next = job;
    }
    snapshots->last = job;
    snapshots->jobs++;
    open->used_ms = sc_clock_mono_ms();
    (void)sem_post(&snapshots->wake);
}

void sc_snapshots_forget(struct sc_snapshots *snapshots, uint64_t id)
{
    struct open *open = find(snapshots, id);
    if (open != NULL) {
        end(open);
    }
}

void sc_snapshots_tick(struct sc_snapshots *snapshots)
{
    uint64_t now_ms = sc_clock_mono_ms();
    for (size_t i = 0; i < SC_SNAPSHOTS_MAX; i++) {
        struct open *open = &snapshots->open[i];
        if (open->snapshot != NULL && !open->busy && now_ms > open->used_ms + snapshots->idle_ms) {
            sc_log_warn("snapshot %" PRIu64 " is closed: nobody has read from it for %" PRIu64
                        " ms",
                        open->id, snapshots->idle_ms);
            end(open);
        }
    }
}

struct sc_snapshots_figures sc_snapshots_figures(const struct sc_snapshots *snapshots)
{
    struct sc_snapshots_figures figures = {0};
    for (size_t i = 0; i < SC_SNAPSHOTS_MAX; i++) {
        const struct open *open = &snapshots->open[i];
        if (open->snapshot != NULL) {
            figures.count++;
            figures.memory += sc_snapshot_memory(open->snapshot);
        }
    }
    return figures;
}

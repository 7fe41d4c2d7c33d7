#include "shard/copier.h"

#include "common/clock.h"
#include "common/log.h"
#include "shard/backup.h"
#include "shard/pace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABANDONED_MS 60000u

struct sc_copier {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping; /* the thread is to end */
    struct sc_pace pace; /* stopping: the backup that is under way is to end */
    atomic_bool complete; /* it is, and is to be removed */

    /* guarded by the hub's lock */
    uint64_t id; /* of the last backup; 0: there was none */
    enum sc_msg_backup_state state;
    struct sc_backup *backup; /* of this id */
    uint64_t asked_ms; /* when its progress was asked for last; monotonic */
    enum sc_status status; /* of one that failed */
    char why[SC_WHY_SIZE];

    /* of the thread while a backup is under way */
    char dir[SC_MSG_DIR_MAX + 1];
    char name[32];
    bool link;
};

/* ---- The thread ---- */

static void host_lock(void *arg)
{
    struct sc_copier *copier = arg;
    sc_sp_hub_lock(copier->hub);
}

static void host_unlock(void *arg)
{
    struct sc_copier *copier = arg;
    sc_sp_hub_unlock(copier->hub);
}

/* Waits until the rate allows what was read. */
static bool host_proceed(void *arg, uint64_t bytes)
{
    struct sc_copier *copier = arg;
    sc_pace_keep(&copier->pace, bytes);
    return !atomic_load(&copier->pace.stopping);
}

/* What it was part of did not become complete. */
static void discard(struct sc_copier *copier)
{
    sc_backup_discard(copier->backup, copier->dir, copier->name);
    sc_log_warn("backup %s/%s was given up: it was removed", copier->dir, copier->name);
    sc_sp_hub_lock(copier->hub);
    copier->state = SC_MSG_BACKUP_FAILED;
    copier->status = SC_UNAVAILABLE;
    sc_why(copier->why, "the backup was told to stop");
    sc_sp_hub_unlock(copier->hub);
}

static void make_backup(struct sc_copier *copier)
{
    const struct sc_backup_host host = {host_lock, host_unlock, host_proceed, copier};
    char why[SC_WHY_SIZE] = "";
    enum sc_status status =
        sc_backup_run(copier->backup, &host, copier->dir, copier->name, !copier->link, why);
    if (status == SC_OK) {
        sc_log_info("backup %s/%s is complete", copier->dir, copier->name);
    } else {
        sc_log_warn("backup %s/%s was given up: %s", copier->dir, copier->name, why);
    }
    sc_sp_hub_lock(copier->hub);
    copier->state = status == SC_OK ? SC_MSG_BACKUP_DONE : SC_MSG_BACKUP_FAILED;
    copier->status = status;
    memcpy(copier->why, why, sizeof copier->why);
    sc_sp_hub_unlock(copier->hub);
}

static void *run(void *arg)
{
    struct sc_copier *copier = arg;
    for (;;) {
        while (sem_wait(&copier->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&copier->stopping)) {
            return NULL;
        }
        if (atomic_load(&copier->complete)) {
            discard(copier);
        } else {
            make_backup(copier);
        }
    }
}

enum sc_status sc_copier_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_copier **out, char *why)
{
    struct sc_copier *copier = sc_calloc(1, sizeof *copier);
    copier->hub = hub;
    copier->store = store;
    (void)sem_init(&copier->wake, 0, 0);
    int error = pthread_create(&copier->thread, NULL, run, copier);
    if (error != 0) {
        (void)sem_destroy(&copier->wake);
        free(copier);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = copier;
    return SC_OK;
}

void sc_copier_stop(struct sc_copier *copier)
{
    if (copier != NULL) {
        atomic_store(&copier->stopping, true);
        atomic_store(&copier->pace.stopping, true);
        (void)sem_post(&copier->wake);
        (void)pthread_join(copier->thread, NULL);
        (void)sem_destroy(&copier->wake);
        sc_backup_free(copier->backup);
        free(copier);
    }
}

/* ---- With the lock ---- */

static bool is_running(const struct sc_copier *copier)
{
    return copier->id != 0 && copier->state == SC_MSG_BACKUP_RUNNING;
}

static void begin(struct sc_copier *copier, const struct sc_msg_copy *request)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(copier->store, &identity);
    sc_backup_free(copier->backup);
    copier->backup = sc_backup_alloc(copier->store);
    sc_backup_label(copier->backup, request->label);
    copier->id = request->id;
    copier->state = SC_MSG_BACKUP_RUNNING;
    copier->asked_ms = sc_clock_mono_ms();
    memcpy(copier->dir, request->dir.data, request->dir.size);
    copier->dir[request->dir.size] = '\0';
    (void)snprintf(copier->name, sizeof copier->name, "shard-%" PRIu32, identity.shard_id);
    copier->link = request->link;
    atomic_store(&copier->pace.rate, request->rate);
    atomic_store(&copier->pace.stopping, false);
    atomic_store(&copier->complete, false);
    (void)sem_post(&copier->wake);
}

void sc_copier_begin(struct sc_copier *copier, uint64_t epoch, const struct sc_msg_copy *request,
                     struct sc_buf *reply)
{
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = SC_OK;
    if (request->epoch != epoch) {
        status = sc_fail(why, SC_BUSY, "slots are being handed over: try again");
    } else if (is_running(copier)) {
        atomic_store(&copier->pace.stopping, true);
        status = sc_fail(why, SC_BUSY,
                         "the backup to %.200s, whose coordinator is gone, is being given up: try "
                         "again",
                         copier->dir);
    } else {
        begin(copier, request);
    }
    sc_msg_reply_status(reply, status, status == SC_OK ? NULL : why);
}

static void give_up(struct sc_copier *copier)
{
    atomic_store(&copier->pace.stopping, true);
    if (copier->state == SC_MSG_BACKUP_DONE) {
        copier->state = SC_MSG_BACKUP_RUNNING; /* until it is removed */
        atomic_store(&copier->complete, true);
        (void)sem_post(&copier->wake);
    }
}

void sc_copier_progress(struct sc_copier *copier, const struct sc_msg_copy *request,
                        struct sc_buf *reply)
{
    struct sc_backup_figures figures;
    size_t count = 0;
    if (copier->id != request->id) {
        sc_msg_reply_status(reply, SC_NOTFOUND,
                            "the shard knows nothing of this backup: it was restarted since");
        return;
    }
    copier->asked_ms = sc_clock_mono_ms();
    if (!request->go_on) {
        give_up(copier);
    }
    sc_backup_figures(copier->backup, &figures);
    struct sc_msg_progress progress = {
        .state = copier->state,
        .cut = figures.cut,
        .bytes = figures.bytes,
        .bytes_done = figures.bytes_done,
        .time_ms = figures.time_ms,
        .keys = figures.keys,
        .version = figures.version,
        .damaged = figures.damaged,
        .linked_bytes = figures.linked_bytes,
    };
    const struct sc_backup_file *files = NULL;
    if (copier->state == SC_MSG_BACKUP_DONE) {
        files = sc_backup_files(copier->backup, &count);
    } else if (copier->state == SC_MSG_BACKUP_FAILED) {
        progress.status = (int)copier->status;
        progress.why = sc_slice_str(copier->why);
    }
    progress.file_count = (uint32_t)count;
    sc_msg_reply_progress(reply, &progress);
    for (size_t i = 0; i < count; i++) {
        const struct sc_msg_backup_file file = {sc_slice_str(files[i].name), files[i].size,
                                                files[i].checksum, files[i].linked};
        sc_msg_put_backup_file(reply, &file);
    }
}

void sc_copier_tick(struct sc_copier *copier)
{
    if (is_running(copier) && sc_clock_mono_ms() > copier->asked_ms + ABANDONED_MS) {
        atomic_store(&copier->pace.stopping, true);
    }
}

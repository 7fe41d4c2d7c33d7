#include "coordinator/archivist.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "coordinator/inventory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 5000000L /* between two looks whether all have answered */
#define POLL_MS 200u
#define CUT_POLL_MS 5u
#define SILENCE_MS 30000u /* a shard may be silent for so long */
#define ABSENCE_MS 3000u /* ... when the connection to it is lost: it is likely to have died */
#define GIVING_UP_MS 10000u /* shards get so long to remove what they made */

enum state { IDLE, RUNNING, DONE, FAILED };

/* One shard's part. Guarded by the hub's lock. */
struct part {
    struct sc_backend_call call; /* must be first */
    uint32_t shard_id;
    char url[SC_URL_MAX + 1];
    bool asking; /* a call is on its way */
    bool begun; /* the shard may have begun it */
    bool lost; /* ... but cannot be reached */
    bool away; /* the connection to it is lost */
    uint64_t heard_ms; /* when it answered last; monotonic */
    enum sc_msg_backup_state state;
    bool cut;
    uint64_t bytes, bytes_done;
    uint64_t time_ms, keys, version, damaged, linked_bytes;
    struct sc_buf files; /* encoded, file_count of them */
    uint32_t file_count;
    enum sc_status status; /* what went wrong */
    char why[SC_WHY_SIZE];
};

struct sc_archivist {
    /* constant after start */
    struct sc_fleet *fleet;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    enum state state;
    bool cancelled;
    uint64_t id;
    char dir[SC_MSG_DIR_MAX + 1];
    bool link;
    uint64_t rate;
    uint64_t epoch; /* of the map when it was begun */
    uint64_t time_ms; /* when that was */
    uint64_t begun_ms, ended_ms; /* monotonic */
    struct sc_buf ranges; /* of that map, encoded */
    uint8_t cluster[16];
    struct part *parts;
    size_t part_count;
    char why[SC_WHY_SIZE]; /* of one that failed */
};

static void lock(const struct sc_archivist *archivist)
{
    sc_sp_hub_lock(archivist->fleet->hub);
}

static void unlock(const struct sc_archivist *archivist)
{
    sc_sp_hub_unlock(archivist->fleet->hub);
}

static void free_parts(struct sc_archivist *archivist)
{
    for (size_t i = 0; i < archivist->part_count; i++) {
        assert(!archivist->parts[i].asking);
        sc_buf_fini(&archivist->parts[i].files);
    }
    free(archivist->parts);
    archivist->parts = NULL;
    archivist->part_count = 0;
}

/* ---- What shards answer ---- */

static void part_fail(struct part *part, enum sc_status status, struct sc_slice why)
{
    size_t length = why.size < 250 ? why.size : 250;
    part->status = status;
    sc_why(part->why, "shard %" PRIu32 ": %.*s", part->shard_id, (int)length,
           length > 0 ? (const char *)why.data : "");
}

static void on_begun(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct part *part = (struct part *)call;
    struct sc_msg_reply reply;
    part->asking = false;
    part->begun = status != SC_UNAVAILABLE;
    part->heard_ms = sc_clock_mono_ms();
    if (status != SC_OK) {
        part_fail(part, SC_UNAVAILABLE, sc_slice_str("it gave no answer"));
    } else if (!sc_msg_parse_reply(body, &reply)) {
        part_fail(part, SC_INTERNAL, sc_slice_str("its reply makes no sense"));
    } else if (reply.status != SC_OK) {
        part->begun = false;
        part_fail(part, reply.status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply.status,
                  reply.why);
    }
}

static void take_progress(struct part *part, const struct sc_msg_progress *progress)
{
    part->heard_ms = sc_clock_mono_ms();
    part->state = progress->state;
    part->cut = progress->cut;
    part->bytes = progress->bytes;
    part->bytes_done = progress->bytes_done;
    if (progress->state == SC_MSG_BACKUP_FAILED && part->status == SC_OK) {
        part_fail(part, progress->status != SC_OK ? (enum sc_status)progress->status : SC_INTERNAL,
                  progress->why);
    }
    if (progress->state == SC_MSG_BACKUP_DONE) {
        part->time_ms = progress->time_ms;
        part->keys = progress->keys;
        part->version = progress->version;
        part->damaged = progress->damaged;
        part->linked_bytes = progress->linked_bytes;
        part->file_count = progress->file_count;
        part->files.size = 0;
        sc_buf_append(&part->files, progress->files.at,
                      (size_t)(progress->files.end - progress->files.at));
    }
}

static void on_progress(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct part *part = (struct part *)call;
    struct sc_msg_reply reply;
    struct sc_msg_progress progress;
    part->asking = false;
    part->lost = status != SC_OK;
    part->away = status == SC_UNAVAILABLE;
    if (part->lost) {
        return; /* it may come back */
    }
    if (!sc_msg_parse_reply(body, &reply)) {
        part_fail(part, SC_INTERNAL, sc_slice_str("its reply makes no sense"));
    } else if (reply.status != SC_OK) {
        part->begun = false; /* it was restarted, and knows nothing of it */
        part_fail(part, (enum sc_status)reply.status, reply.why);
    } else if (sc_msg_take_progress(&reply.result, &progress)) {
        take_progress(part, &progress);
    } else {
        part_fail(part, SC_INTERNAL, sc_slice_str("its reply makes no sense"));
    }
}

/* ---- Asking ---- */

static void ask_locked(const struct sc_archivist *archivist, struct part *part,
                       struct sc_slice request,
                       void (*done)(struct sc_backend_call *, enum sc_status, struct sc_slice))
{
    struct sc_backend *backend = sc_fleet_backend(archivist->fleet, part->shard_id);
    part->call.done = done;
    part->asking = true;
    if (backend != NULL) {
        sc_backend_call(backend, &part->call, request);
    } else {
        done(&part->call, SC_UNAVAILABLE, sc_slice(NULL, 0));
    }
}

/* Waits until no call is on its way: their time-outs end it. */
static void await(const struct sc_archivist *archivist)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    for (;;) {
        bool asking = false;
        lock(archivist);
        for (size_t i = 0; i < archivist->part_count; i++) {
            asking = asking || archivist->parts[i].asking;
        }
        unlock(archivist);
        if (!asking) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* Asks every part that is not over how far it is, and waits for the answers. */
static void poll_parts(const struct sc_archivist *archivist, bool go_on)
{
    struct sc_buf request = {0};
    lock(archivist);
    sc_msg_put_x_progress(&request, archivist->id, go_on);
    for (size_t i = 0; i < archivist->part_count; i++) {
        struct part *part = &archivist->parts[i];
        bool over = go_on ? part->state != SC_MSG_BACKUP_RUNNING
                          : !part->begun || part->state == SC_MSG_BACKUP_FAILED;
        if (!over) {
            ask_locked(archivist, part, sc_buf_slice(&request), on_progress);
        }
    }
    unlock(archivist);
    sc_buf_fini(&request);
    await(archivist);
}

/* Sleeps, or until the thread is to stop. */
static void pause_ms(const struct sc_archivist *archivist, uint64_t ms)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    uint64_t until = sc_clock_mono_ms() + ms;
    while (!atomic_load(&archivist->stopping) && sc_clock_mono_ms() < until) {
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- The steps ---- */

/* The shards that own slots, and the map. */
static enum sc_status begin_parts(struct sc_archivist *archivist, uint64_t label, char *why)
{
    struct sc_fleet *fleet = archivist->fleet;
    struct sc_buf request = {0};
    enum sc_status status = SC_OK;
    lock(archivist);
    struct sc_backend *down = sc_fleet_first_down(fleet);
    if (down != NULL) {
        status = sc_fail(why, SC_UNAVAILABLE, "%s", sc_backend_why(down));
    } else {
        const struct sc_cluster *cluster = &fleet->cluster;
        archivist->epoch = cluster->epoch;
        memcpy(archivist->cluster, cluster->id, sizeof archivist->cluster);
        archivist->ranges.size = 0;
        sc_cluster_put_ranges(cluster, false, &archivist->ranges);
        archivist->parts = sc_calloc(cluster->shard_count + 1, sizeof *archivist->parts);
        sc_msg_put_x_backup(&request, archivist->id, cluster->epoch, sc_slice_str(archivist->dir),
                            archivist->link, archivist->rate, label);
        for (size_t i = 0; i < cluster->shard_count; i++) {
            if (cluster->shards[i].slots > 0) {
                struct part *part = &archivist->parts[archivist->part_count++];
                part->shard_id = cluster->shards[i].id;
                memcpy(part->url, cluster->shards[i].url, sizeof part->url);
            }
        }
        for (size_t i = 0; i < archivist->part_count; i++) {
            ask_locked(archivist, &archivist->parts[i], sc_buf_slice(&request), on_begun);
        }
    }
    unlock(archivist);
    sc_buf_fini(&request);
    await(archivist);
    sc_failpoint("backup_begun");
    return status;
}

/* What is to be said of the parts now. SC_OK: nothing is wrong; all have made their cut, or are
 * complete. */
static enum sc_status judge(struct sc_archivist *archivist, bool *cut, bool *done, char *why)
{
    enum sc_status status = SC_OK;
    lock(archivist);
    uint64_t now_ms = sc_clock_mono_ms();
    *cut = true;
    *done = true;
    for (size_t i = 0; i < archivist->part_count && status == SC_OK; i++) {
        const struct part *part = &archivist->parts[i];
        *cut = *cut && part->cut;
        *done = *done && part->state == SC_MSG_BACKUP_DONE;
        if (part->status != SC_OK) {
            status = sc_fail(why, part->status, "%s", part->why);
        } else if (now_ms > part->heard_ms + (part->away ? ABSENCE_MS : SILENCE_MS)) {
            status =
                sc_fail(why, SC_UNAVAILABLE, "shard %" PRIu32 " is out of reach", part->shard_id);
        }
    }
    if (status == SC_OK && archivist->cancelled) {
        status = sc_fail(why, SC_UNAVAILABLE, "it was cancelled");
    } else if (status == SC_OK && atomic_load(&archivist->stopping)) {
        status = sc_fail(why, SC_UNAVAILABLE, "the coordinator is shutting down");
    }
    unlock(archivist);
    return status;
}

/* What was handed over meanwhile may be in two of the parts, or in none. */
static enum sc_status check_epoch(struct sc_archivist *archivist, char *why)
{
    lock(archivist);
    bool same = archivist->epoch == archivist->fleet->cluster.epoch;
    unlock(archivist);
    return same ? SC_OK
                : sc_fail(why, SC_BUSY, "slots were handed over while it was begun: try again");
}

/* Follows the shards until all are complete. */
static enum sc_status follow(struct sc_archivist *archivist, char *why)
{
    bool all_cut = false;
    for (;;) {
        bool cut, done;
        enum sc_status status = judge(archivist, &cut, &done, why);
        if (status == SC_OK && cut && !all_cut) {
            status = check_epoch(archivist, why);
            all_cut = true;
        }
        if (status != SC_OK || done) {
            return status;
        }
        poll_parts(archivist, true);
        pause_ms(archivist, all_cut ? POLL_MS : CUT_POLL_MS);
    }
}

/* The parts do not change any more: all are complete. */
static enum sc_status write_inventory(struct sc_archivist *archivist, char *why)
{
    size_t count = archivist->part_count;
    struct sc_inventory_shard *shards = sc_calloc(count + 1, sizeof *shards);
    for (size_t i = 0; i < count; i++) {
        const struct part *part = &archivist->parts[i];
        shards[i] = (struct sc_inventory_shard){
            .id = part->shard_id,
            .url = sc_slice_str(part->url),
            .time_ms = part->time_ms,
            .keys = part->keys,
            .version = part->version,
            .damaged = part->damaged,
            .files = sc_mp(sc_buf_slice(&part->files)),
            .file_count = part->file_count,
        };
    }
    const struct sc_inventory inventory = {
        .cluster = archivist->cluster,
        .epoch = archivist->epoch,
        .time_ms = archivist->time_ms,
        .ranges = sc_buf_slice(&archivist->ranges),
        .shards = shards,
        .shard_count = count,
    };
    enum sc_status status = sc_inventory_write(archivist->dir, &inventory, why);
    free(shards);
    return status;
}

/* Has every shard remove what it made. Who cannot be reached does so by itself, unless it is
 * complete already. */
static void give_up(struct sc_archivist *archivist)
{
    uint64_t until = sc_clock_mono_ms() + GIVING_UP_MS;
    bool more = true;
    while (more && sc_clock_mono_ms() < until) {
        more = false;
        poll_parts(archivist, false);
        lock(archivist);
        for (size_t i = 0; i < archivist->part_count; i++) {
            const struct part *part = &archivist->parts[i];
            more = more || (part->begun && !part->lost && part->state != SC_MSG_BACKUP_FAILED);
        }
        unlock(archivist);
        pause_ms(archivist, more ? 20 : 0);
    }
}

static enum sc_status make_backup(struct sc_archivist *archivist, char *why)
{
    struct sc_inventory_start start = {.label = archivist->id};
    enum sc_status status = sc_inventory_prepare(archivist->dir, &start, why);
    bool prepared = status == SC_OK;
    if (prepared) {
        status = begin_parts(archivist, start.label, why);
        if (status == SC_OK) {
            status = follow(archivist, why);
        }
        if (status == SC_OK) {
            status = write_inventory(archivist, why);
        }
        if (status != SC_OK) {
            give_up(archivist);
        }
    }
    if (status != SC_OK && (prepared || start.made)) {
        sc_inventory_abandon(archivist->dir, &start);
    }
    return status;
}

/* ---- The thread ---- */

static void *run(void *arg)
{
    struct sc_archivist *archivist = arg;
    for (;;) {
        while (sem_wait(&archivist->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&archivist->stopping)) {
            return NULL;
        }
        char why[SC_WHY_SIZE] = "";
        enum sc_status status = make_backup(archivist, why);
        if (status == SC_OK) {
            sc_log_info("the backup in %s is complete", archivist->dir);
        } else {
            sc_log_warn("the backup in %s was given up: %s", archivist->dir, why);
        }
        lock(archivist);
        archivist->state = status == SC_OK ? DONE : FAILED;
        archivist->ended_ms = sc_clock_mono_ms();
        memcpy(archivist->why, why, sizeof archivist->why);
        unlock(archivist);
    }
}

enum sc_status sc_archivist_start(struct sc_fleet *fleet, struct sc_archivist **out, char *why)
{
    struct sc_archivist *archivist = sc_calloc(1, sizeof *archivist);
    archivist->fleet = fleet;
    (void)sem_init(&archivist->wake, 0, 0);
    int error = pthread_create(&archivist->thread, NULL, run, archivist);
    if (error != 0) {
        (void)sem_destroy(&archivist->wake);
        free(archivist);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = archivist;
    return SC_OK;
}

void sc_archivist_stop(struct sc_archivist *archivist)
{
    if (archivist != NULL) {
        atomic_store(&archivist->stopping, true);
        (void)sem_post(&archivist->wake);
        (void)pthread_join(archivist->thread, NULL);
        (void)sem_destroy(&archivist->wake);
        free_parts(archivist);
        sc_buf_fini(&archivist->ranges);
        free(archivist);
    }
}

/* ---- With the lock ---- */

static enum sc_status begin(struct sc_archivist *archivist, const struct sc_msg_request *request,
                            char *why)
{
    const struct sc_msg_copy *copy = &request->copy;
    struct sc_fleet *fleet = archivist->fleet;
    if (archivist->state == RUNNING) {
        return sc_fail(why, SC_BUSY, "a backup to %.200s is under way", archivist->dir);
    }
    struct sc_backend *down = sc_fleet_first_down(fleet);
    if (down != NULL) {
        return sc_fail(why, SC_UNAVAILABLE, "%s", sc_backend_why(down));
    }
    free_parts(archivist);
    archivist->state = RUNNING;
    archivist->cancelled = false;
    archivist->id = sc_fleet_copy_id(fleet);
    memcpy(archivist->dir, copy->dir.data, copy->dir.size);
    archivist->dir[copy->dir.size] = '\0';
    archivist->link = copy->link;
    archivist->rate = request->bytes_per_second;
    archivist->time_ms = sc_clock_wall_us() / 1000;
    archivist->begun_ms = sc_clock_mono_ms();
    archivist->why[0] = '\0';
    (void)sem_post(&archivist->wake);
    return SC_OK;
}

static void put_text(struct sc_buf *out, const char *name, const char *value)
{
    sc_mp_put_cstr(out, name);
    sc_mp_put_cstr(out, value);
}

static void put_parts(const struct sc_archivist *archivist, struct sc_buf *reply)
{
    static const char *const states[] = {[SC_MSG_BACKUP_RUNNING] = "running",
                                         [SC_MSG_BACKUP_DONE] = "done",
                                         [SC_MSG_BACKUP_FAILED] = "failed"};
    sc_mp_put_cstr(reply, "shards");
    sc_mp_put_array(reply, (uint32_t)archivist->part_count);
    for (size_t i = 0; i < archivist->part_count; i++) {
        const struct part *part = &archivist->parts[i];
        bool failed = part->status != SC_OK;
        sc_mp_put_map(reply, failed ? 5 : 4);
        sc_mp_put_member(reply, "id", part->shard_id);
        put_text(reply, "state", states[failed ? SC_MSG_BACKUP_FAILED : part->state]);
        sc_mp_put_member(reply, "bytes", part->bytes);
        sc_mp_put_member(reply, "bytes_done", part->bytes_done);
        if (failed) {
            put_text(reply, "why", part->why);
        }
    }
}

static void put_state(const struct sc_archivist *archivist, struct sc_buf *reply)
{
    static const char *const states[] = {
        [IDLE] = "idle", [RUNNING] = "running", [DONE] = "done", [FAILED] = "failed"};
    uint64_t bytes = 0, bytes_done = 0, linked = 0, files = 0, keys = 0, damaged = 0;
    for (size_t i = 0; i < archivist->part_count; i++) {
        const struct part *part = &archivist->parts[i];
        bytes += part->bytes;
        bytes_done += part->bytes_done;
        linked += part->linked_bytes;
        files += part->file_count;
        keys += part->keys;
        damaged += part->damaged;
    }
    uint64_t end_ms = archivist->state == RUNNING ? sc_clock_mono_ms() : archivist->ended_ms;
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_map(reply, archivist->state == IDLE ? 1 : archivist->state == DONE ? 10 : 7);
    put_text(reply, "state", states[archivist->state]);
    if (archivist->state == IDLE) {
        return;
    }
    put_text(reply, "dir", archivist->dir);
    put_text(reply, "why", archivist->why);
    sc_mp_put_member(reply, "ms", end_ms - archivist->begun_ms);
    sc_mp_put_member(reply, "bytes", bytes);
    sc_mp_put_member(reply, "bytes_done", bytes_done);
    if (archivist->state == DONE) {
        sc_mp_put_member(reply, "keys", keys);
        sc_mp_put_member(reply, "files", files);
        sc_mp_put_member(reply, "linked_bytes", linked);
        sc_mp_put_member(reply, "damaged_records", damaged);
        return;
    }
    put_parts(archivist, reply);
}

void sc_archivist_backup(struct sc_archivist *archivist, const struct sc_msg_request *request,
                         struct sc_buf *reply)
{
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = SC_OK;
    bool has_dir = request->copy.dir.size > 0;
    if (request->cancel && has_dir) {
        status = sc_fail(why, SC_BADREQUEST, "backup: cancel stands alone");
    } else if (!has_dir && (!request->copy.link || request->has_rate)) {
        status = sc_fail(why, SC_BADREQUEST, "backup: give a dir to begin one");
    } else if (request->cancel) {
        archivist->cancelled = true;
    } else if (has_dir) {
        status = begin(archivist, request, why);
    }
    if (status == SC_OK) {
        put_state(archivist, reply);
    } else {
        sc_msg_reply_status(reply, status, why);
    }
}

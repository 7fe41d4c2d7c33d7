#include "client/handle.h"

#include "client/course.h"
#include "client/direct.h"
#include "client/error.h"
#include "client/operation.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/sp_lookup.h"

#include <signal.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS_DEFAULT 5000u
#define TIMEOUT_MS_DEFAULT 15000u
#define BATCH_MAX_DEFAULT 1024u

/* Below this not even a largest key with a small value would fit. */
#define MESSAGE_MAX_LEAST (128u << 10)

/* Operations are joined into messages of at most so many bytes: more gains nothing, and delays what
 * comes behind. */
#define JOIN_BYTES_MAX (1u << 20)

/* ---- What the hub calls, with its lock held ---- */

static void pump_ordered(struct shardcask *handle)
{
    if (handle->closing) {
        sc_ordered_abandon(&handle->ordered, "the handle was closed");
    } else {
        sc_ordered_pump(&handle->ordered);
    }
}

/* Pumping may stir further peers. */
static void on_drained(void *arg)
{
    struct shardcask *handle = arg;
    sc_async_hand_over(&handle->async); /* whose thread wakes up while this one sends */
    while (!SLIST_EMPTY(&handle->stirred) || handle->ordered.stirred) {
        if (handle->ordered.stirred) {
            pump_ordered(handle);
        }
        struct sc_peer *peer = SLIST_FIRST(&handle->stirred);
        if (peer != NULL) {
            SLIST_REMOVE_HEAD(&handle->stirred, stir);
            peer->stirred = false;
            sc_peer_pump(peer);
        }
    }
    sc_async_hand_over(&handle->async); /* what has ended unsent */
}

static void end_opening(struct shardcask *handle, int status)
{
    struct sc_job *opening = handle->opening;
    if (opening != NULL) {
        handle->opening = NULL;
        opening->status = status;
        sc_job_end(opening);
    }
}

void sc_handle_check_opening(struct shardcask *handle)
{
    if (handle->opening != NULL && sc_peer_up(&handle->coordinator) &&
        (handle->direct == NULL || sc_direct_settled(handle->direct))) {
        end_opening(handle, SC_OK);
    }
}

/* The coordinator is enough. */
static void check_opening_time(struct shardcask *handle, uint64_t now_ms)
{
    if (handle->opening != NULL && now_ms >= handle->opening->deadline_ms) {
        end_opening(handle, sc_peer_up(&handle->coordinator) ? SC_OK : SC_UNAVAILABLE);
    }
}

static void on_tick(void *arg)
{
    struct shardcask *handle = arg;
    uint64_t now_ms = sc_clock_mono_ms();
    sc_peer_tick(&handle->coordinator, now_ms);
    if (handle->direct != NULL) {
        sc_direct_tick(handle->direct, now_ms);
        sc_ordered_tick(&handle->ordered, now_ms);
    }
    sc_handle_check_opening(handle);
    check_opening_time(handle, now_ms);
    on_drained(handle);
}

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct shardcask *handle = arg;
    (void)why;
    atomic_store(&handle->coordinator.usable, state == SC_SP_UP);
    sc_peer_stir(&handle->coordinator);
    if (state == SC_SP_UP && handle->direct != NULL) {
        sc_direct_coordinator_up(handle->direct);
    }
    sc_handle_check_opening(handle);
}

static void on_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct shardcask *handle = arg;
    sc_peer_reply(&handle->coordinator, tag, status, body);
}

/* ---- Open and close ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static enum sc_status dial(struct shardcask *handle, const char *url, char *why)
{
    struct sc_sp_hub_options hub_options = {
        .message_max = handle->message_max,
        .on_drained = on_drained,
        .on_tick = on_tick,
        .arg = handle,
        .descriptor = sc_sp_lookup,
    };
    enum sc_status status = sc_sp_hub_open(&hub_options, &handle->hub, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_sp_link_options link_options = {
        .url = url, .on_state = on_state, .on_reply = on_reply, .arg = handle};
    sc_sp_hub_lock(handle->hub);
    status = sc_sp_dial_locked(handle->hub, &link_options, &handle->coordinator.link, why);
    sc_sp_hub_unlock(handle->hub);
    return status;
}

/* Dials with all signals blocked, so that the threads which nng starts take none: the program's own
 * threads do. */
static enum sc_status dial_quietly(struct shardcask *handle, const char *url, char *why)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    enum sc_status status = dial(handle, url, why);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* Waits until there is a connection, or the time is over. */
static enum sc_status await_connection(struct shardcask *handle, uint32_t timeout_ms, char *why)
{
    struct sc_job opening = {.deadline_ms = sc_clock_mono_ms() + timeout_ms};
    sc_sp_hub_lock(handle->hub);
    handle->opening = &opening;
    sc_handle_check_opening(handle);
    sc_sp_hub_unlock(handle->hub);
    sc_job_wait(&opening);
    if (opening.status != SC_OK) {
        sc_sp_hub_lock(handle->hub);
        const char *reason = sc_peer_why(&handle->coordinator);
        (void)sc_fail(why, SC_UNAVAILABLE, "%s",
                      *reason != '\0' ? reason : "no connection before the time-out");
        sc_sp_hub_unlock(handle->hub);
    }
    return (enum sc_status)opening.status;
}

static const char *address(const char *url)
{
    const char *from_environment = getenv("SHARDCASK_URL");
    if (url != NULL) {
        return url;
    }
    return from_environment != NULL && *from_environment != '\0' ? from_environment
                                                                 : SC_URL_DEFAULT;
}

int shardcask_open(const char *url, const struct shardcask_options *options,
                   struct shardcask **handle, char *why)
{
    static const struct shardcask_options defaults;
    const struct shardcask_options *o = options != NULL ? options : &defaults;
    *handle = NULL;
    char reason[SC_WHY_SIZE] = "";
    size_t message_max = or_default(o->message_max, SC_MESSAGE_MAX_DEFAULT);
    if (message_max < MESSAGE_MAX_LEAST) {
        (void)sc_fail(why, SC_BADREQUEST, "message_max is less than %u bytes", MESSAGE_MAX_LEAST);
        return sc_error_set(SC_BADREQUEST, "message_max is too small");
    }
    struct shardcask *new = sc_calloc(1, sizeof *new);
    new->timeout_ms = or_default(o->timeout_ms, TIMEOUT_MS_DEFAULT);
    new->message_max = message_max;
    new->join_max = or_default(o->batch_max, BATCH_MAX_DEFAULT);
    new->join_bytes = message_max / 2 < JOIN_BYTES_MAX ? message_max / 2 : JOIN_BYTES_MAX;
    sc_peer_init(&new->coordinator, new);
    new->coordinator.patient = true;
    sc_ordered_init(&new->ordered, new);
    new->direct = o->direct ? sc_direct_open(new) : NULL;
    sc_async_init(&new->async, new);
    enum sc_status status = dial_quietly(new, address(url), reason);
    if (status == SC_OK) {
        uint32_t timeout_ms = or_default(o->connect_timeout_ms, CONNECT_TIMEOUT_MS_DEFAULT);
        status = await_connection(new, timeout_ms, reason);
    }
    if (status != SC_OK) {
        shardcask_close(new);
        (void)sc_fail(why, status, "%s", reason);
        return sc_error_set(status, reason);
    }
    *handle = new;
    return SC_OK;
}

void shardcask_close(struct shardcask *handle)
{
    if (handle == NULL) {
        return;
    }
    sc_async_stop(&handle->async);
    if (handle->hub != NULL) {
        sc_sp_hub_lock(handle->hub);
        handle->closing = true;
        handle->coordinator.closed = true;
        sc_peer_hang_up(&handle->coordinator); /* ends what is on its way */
        if (handle->direct != NULL) {
            sc_direct_close(handle->direct);
        }
        handle->ordered.stirred = true;
        sc_sp_hub_unlock(handle->hub); /* ends the rest */
    }
    sc_async_fini(&handle->async);
    sc_sp_hub_close(handle->hub, 0);
    sc_ordered_fini(&handle->ordered);
    sc_direct_free(handle->direct);
    sc_peer_fini(&handle->coordinator);
    free(handle);
}

/* ---- Running jobs ---- */

static uint64_t deadline(const struct shardcask *handle)
{
    return sc_clock_mono_ms() + handle->timeout_ms;
}

static struct sc_intake *submitted(struct shardcask *handle)
{
    return handle->direct != NULL ? &handle->ordered.intake
                                  : &handle->coordinator.lanes[SC_LANE_ORDERED].intake;
}

bool sc_handle_submit(struct shardcask *handle, struct sc_job *job)
{
    job->deadline_ms = deadline(handle);
    job->ended = sc_async_ended;
    return sc_intake_push(submitted(handle), job);
}

/* What other threads submit does not wait for a callback to return. */
void sc_handle_send(struct shardcask *handle)
{
    if (sc_async_postpone(&handle->async)) {
        sc_intake_defer(submitted(handle));
    } else {
        sc_handle_pump(handle);
    }
}

void sc_handle_pump(struct shardcask *handle)
{
    sc_sp_hub_lock(handle->hub);
    if (handle->direct != NULL) {
        handle->ordered.stirred = true;
    } else {
        sc_peer_stir(&handle->coordinator);
    }
    sc_sp_hub_unlock(handle->hub);
}

void sc_handle_note_move(struct shardcask *handle, struct sc_peer *shard, uint64_t epoch)
{
    sc_sp_hub_lock(handle->hub);
    sc_direct_moved(handle->direct, shard, epoch);
    sc_sp_hub_unlock(handle->hub);
}

static void run_at(struct sc_peer *peer, struct shardcask_op *op, struct sc_job *job)
{
    job->peer = peer;
    job->ops = op;
    job->count = job->left = 1;
    job->ended = sc_job_end;
    sc_peer_run(peer, sc_operation_writes(op) ? SC_LANE_WRITES : SC_LANE_READS, job);
}

/* One attempt; true when there should be another. */
static bool attempt(const struct sc_course *course, struct shardcask_op *op)
{
    struct sc_peer *peer = sc_course_peer(course, sc_slice(op->key, op->key_size));
    if (peer == NULL) {
        sc_course_unreachable(op);
        return true;
    }
    struct sc_job job = {.deadline_ms = course->deadline_ms};
    run_at(peer, op, &job);
    if (job.moved_epoch != 0) {
        sc_handle_note_move(course->handle, peer, job.moved_epoch);
    }
    return sc_course_refused(&job, op->status);
}

static void run_direct(struct shardcask *handle, struct shardcask_op *op)
{
    struct sc_course course;
    sc_course_init(&course, handle);
    while (attempt(&course, op)) {
        if (!sc_course_wait(&course)) {
            sc_course_give_up(op);
            return;
        }
        sc_operation_begin(op);
    }
}

int sc_handle_run(struct shardcask *handle, struct shardcask_op *op)
{
    enum sc_status status = sc_operation_check(op, handle->message_max, sc_error_room());
    if (status != SC_OK) {
        return status;
    }
    sc_operation_begin(op);
    if (handle->direct != NULL) {
        run_direct(handle, op);
    } else {
        struct sc_job job = {.deadline_ms = deadline(handle)};
        run_at(&handle->coordinator, op, &job);
    }
    (void)sc_error_set(op->status, op->why);
    free(op->why);
    op->why = NULL;
    return op->status;
}

int sc_handle_call(struct shardcask *handle, struct sc_slice request, bool repeatable,
                   struct shardcask_value *reply)
{
    if (request.size > handle->message_max) {
        return sc_fail(sc_error_room(), SC_TOOLARGE,
                       "a request of %zu bytes does not fit into a message of %zu bytes",
                       request.size, handle->message_max);
    }
    struct sc_job job = {.request = request,
                         .reply = reply,
                         .repeatable = repeatable,
                         .count = 1,
                         .left = 1,
                         .deadline_ms = deadline(handle),
                         .ended = sc_job_end};
    sc_peer_run(&handle->coordinator, SC_LANE_CALLS, &job);
    (void)sc_error_set(job.status, job.why);
    free(job.why);
    return job.status;
}

int sc_handle_senseless(void)
{
    return sc_fail(sc_error_room(), SC_INTERNAL, "the server's reply makes no sense");
}

int sc_handle_ask(struct shardcask *handle, struct sc_slice request, bool repeatable,
                  struct shardcask_value *reply, struct sc_msg_reply *parsed)
{
    int status = sc_handle_call(handle, request, repeatable, reply);
    if (status != SC_OK) {
        return status;
    }
    if (!sc_msg_parse_reply(sc_slice(reply->data, reply->size), parsed)) {
        return sc_handle_senseless();
    }
    if (parsed->status != SC_OK) {
        char why[SC_WHY_SIZE];
        (void)sc_fail(why, SC_OK, "%.*s", (int)parsed->why.size, (const char *)parsed->why.data);
        return sc_error_set(parsed->status, why);
    }
    return SC_OK;
}

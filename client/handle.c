#include "client/handle.h"

#include "client/error.h"
#include "client/operation.h"
#include "common/clock.h"
#include "common/limits.h"

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

/* A callback may submit while the handle closes: what gets in then ends here. */
static void abandon(struct shardcask *handle)
{
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_abandon(&handle->lanes[i], "the handle was closed");
    }
}

static void pump(struct shardcask *handle)
{
    if (handle->closing) {
        abandon(handle);
        return;
    }
    for (size_t i = 0; handle->link != NULL && i < SC_LANE_COUNT; i++) {
        sc_lane_pump(&handle->lanes[i], handle->link);
    }
}

static void on_drained(void *arg)
{
    pump(arg);
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

static void on_tick(void *arg)
{
    struct shardcask *handle = arg;
    uint64_t now_ms = sc_clock_mono_ms();
    if (handle->opening != NULL && now_ms >= handle->opening->deadline_ms) {
        end_opening(handle, SC_UNAVAILABLE);
    }
    for (size_t i = 0; handle->link != NULL && i < SC_LANE_COUNT; i++) {
        sc_lane_tick(&handle->lanes[i], now_ms, sc_sp_link_why(handle->link));
    }
    pump(handle);
}

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    (void)why;
    if (state == SC_SP_UP) {
        end_opening(arg, SC_OK);
    }
}

static void on_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct shardcask *handle = arg;
    if (!sc_lane_reply(tag, status, body)) {
        sc_sp_link_reset(handle->link, "a reply made no sense");
    }
}

static void on_end(struct sc_job *job)
{
    if (job->async != NULL) {
        sc_async_ended(job);
    } else {
        sc_job_end(job);
    }
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
    };
    enum sc_status status = sc_sp_hub_open(&hub_options, &handle->hub, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_sp_link_options link_options = {
        .url = url, .on_state = on_state, .on_reply = on_reply, .arg = handle};
    struct sc_sp_link *link = NULL;
    status = sc_sp_dial(handle->hub, &link_options, &link, why);
    sc_sp_hub_lock(handle->hub);
    handle->link = link;
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

/* Waits until the link is up, or the time is over. */
static enum sc_status await_link(struct shardcask *handle, uint32_t timeout_ms, char *why)
{
    struct sc_job opening = {.deadline_ms = sc_clock_mono_ms() + timeout_ms};
    sc_sp_hub_lock(handle->hub);
    bool up = sc_sp_link_up(handle->link);
    if (!up) {
        handle->opening = &opening;
    }
    sc_sp_hub_unlock(handle->hub);
    if (up) {
        return SC_OK;
    }
    sc_job_wait(&opening);
    if (opening.status != SC_OK) {
        sc_sp_hub_lock(handle->hub);
        const char *reason = sc_sp_link_why(handle->link);
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
    size_t join_bytes = message_max / 2 < JOIN_BYTES_MAX ? message_max / 2 : JOIN_BYTES_MAX;
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_init(&new->lanes[i], (enum sc_lane_kind)i,
                     or_default(o->batch_max, BATCH_MAX_DEFAULT), join_bytes, on_end);
    }
    sc_async_init(&new->async);
    enum sc_status status = dial_quietly(new, address(url), reason);
    if (status == SC_OK) {
        uint32_t timeout_ms = or_default(o->connect_timeout_ms, CONNECT_TIMEOUT_MS_DEFAULT);
        status = await_link(new, timeout_ms, reason);
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
        sc_sp_link_close(handle->link); /* ends what is on its way */
        handle->link = NULL;
        handle->closing = true;
        sc_sp_hub_unlock(handle->hub); /* ends the rest */
    }
    sc_async_fini(&handle->async);
    sc_sp_hub_close(handle->hub, 0);
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_fini(&handle->lanes[i]);
    }
    free(handle);
}

/* ---- Running jobs ---- */

void sc_handle_start(struct shardcask *handle, enum sc_lane_kind kind, struct sc_job *job)
{
    job->deadline_ms = sc_clock_mono_ms() + handle->timeout_ms;
    if (sc_lane_push(&handle->lanes[kind], job)) {
        sc_sp_hub_lock(handle->hub);
        sc_sp_hub_unlock(handle->hub); /* pumps, by on_drained */
    }
}

int sc_handle_run(struct shardcask *handle, struct shardcask_op *op)
{
    enum sc_status status = sc_operation_check(op, handle->message_max, sc_error_room());
    if (status != SC_OK) {
        return status;
    }
    sc_operation_begin(op);
    struct sc_job job = {.ops = op, .count = 1, .left = 1};
    sc_handle_start(handle, sc_operation_writes(op) ? SC_LANE_WRITES : SC_LANE_READS, &job);
    sc_job_wait(&job);
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
    struct sc_job job = {
        .request = request, .reply = reply, .repeatable = repeatable, .count = 1, .left = 1};
    sc_handle_start(handle, SC_LANE_DIRECT, &job);
    sc_job_wait(&job);
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

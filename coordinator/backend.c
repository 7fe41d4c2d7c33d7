#include "coordinator/backend.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"
#include "coordinator/gather.h"
#include "coordinator/introduction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define JOIN_BYTES (1u << 20) /* a message of joined requests grows to about this */
#define JOIN_ITEMS 4096u /* ... or so many requests */
#define QUEUE_BYTES_MAX (256u << 20) /* more waiting in a lane: busy */
#define QUEUE_ITEMS_MAX (4u << 20)
#define TOO_MUCH_WAITS "too much is waiting for this shard: try again later"
#define HELLO_TIMEOUT_MS 5000u
#define REFUSAL_RETRY_MS 2000u /* a refused shard is asked again: its trouble may pass */

/* A message in flight. */
struct flight {
    struct sc_backend_call call; /* must be first: the tag of a send */
    struct sc_backend *backend;
    enum sc_backend_lane lane;
    struct sc_run run;
    struct flight *next; /* in the list of spare ones */
};

struct lane {
    struct sc_run waiting;
    struct sc_run aside; /* requests of stuffed connections; not counted as outstanding */
    uint64_t relieved; /* of the hub when `aside` was last looked through */
    uint32_t in_flight;
};

enum state { DOWN, HELLO, ADOPT, ADOPTED, GRANT, UP, REFUSED };

/* A step of the introduction: one call at a time. */
struct step {
    struct sc_backend_call call; /* must be first */
    struct sc_backend *backend;
};

struct sc_backend {
    const struct sc_backend_shared *shared; /* constant after open, like the next two */
    uint32_t shard_id;
    char url[SC_URL_MAX + 1];

    struct sc_sp_link *link;
    enum state state;
    char refusal[SC_WHY_SIZE]; /* why the shard was not granted anything */
    char why[SC_WHY_SIZE]; /* room for sc_backend_why */
    struct step step;
    bool step_busy;
    uint64_t retry_at_ms; /* when REFUSED */
    uint64_t hello_sent_ms;
    uint64_t ahead_ms; /* the shard's monotonic clock minus ours, or a little more, modulo 2^64 */
    bool has_clock; /* ahead_ms is known */
    bool grant_again; /* the map changed while a grant was on its way */
    bool closing;
    struct lane lanes[SC_BACKEND_LANES];
    struct flight *spare;
    uint64_t outstanding;
    struct sc_backend_counts counts;
};

/* One message of reads at a time lets the next one grow meanwhile; a second message of writes gets
 * the shard's next commit ready while the last one is being synced; a message of cold reads takes
 * as long as the slowest of them, and others need not wait for that. The shard keeps the order on
 * each key. */
static const uint32_t in_flight_max[SC_BACKEND_LANES] = {
    [SC_BACKEND_READS] = 1, [SC_BACKEND_WRITES] = 2, [SC_BACKEND_COLD] = 8};

/* ---- Answers ---- */

static void answer(const struct sc_run_target *target, struct sc_slice reply)
{
    if (target->gather != NULL) {
        sc_gather_put(target->gather, target->index, reply);
    } else {
        sc_sp_reply(&target->origin, reply);
    }
}

static void answer_status(const struct sc_run_target *target, enum sc_status status,
                          const char *why)
{
    struct sc_buf reply = {0};
    sc_msg_reply_status(&reply, status, why);
    answer(target, sc_buf_slice(&reply));
    sc_buf_fini(&reply);
}

const char *sc_backend_why(struct sc_backend *backend)
{
    const char *reason = backend->refusal;
    if (backend->state == DOWN || !sc_sp_link_up(backend->link)) {
        reason = sc_sp_link_why(backend->link);
    } else if (backend->state != REFUSED) {
        reason = "it is being introduced to the cluster";
    }
    sc_why(backend->why, "shard %" PRIu32 " at %s is unavailable: %.*s", backend->shard_id,
           backend->url, 200, reason[0] != '\0' ? reason : "it has not been reached yet");
    return backend->why;
}

/* ---- Flights ---- */

static void on_joined(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply);

static struct flight *take_flight(struct sc_backend *backend, enum sc_backend_lane lane)
{
    struct flight *flight = backend->spare;
    if (flight != NULL) {
        backend->spare = flight->next;
    } else {
        flight = sc_calloc(1, sizeof *flight);
        flight->call.done = on_joined;
        flight->backend = backend;
    }
    flight->lane = lane;
    return flight;
}

static void give_back_flight(struct flight *flight)
{
    sc_run_reset(&flight->run);
    flight->next = flight->backend->spare;
    flight->backend->spare = flight;
}

static bool is_full(const struct lane *lane)
{
    return lane->waiting.bytes.size > QUEUE_BYTES_MAX ||
           sc_run_count(&lane->waiting) > QUEUE_ITEMS_MAX;
}

/* How many of the waiting requests make up the next message. */
static size_t next_message(const struct sc_run *waiting)
{
    size_t bytes = 0;
    size_t count = 0;
    while (count < sc_run_count(waiting) && count < JOIN_ITEMS &&
           (count == 0 || bytes + sc_run_item(waiting, count)->size <= JOIN_BYTES)) {
        bytes += sc_run_item(waiting, count++)->size;
    }
    return count;
}

/* Begins a message that the shard must not act upon once we have given it up. */
static struct sc_buf *begin_message(struct sc_backend *backend, struct sc_backend_call *call)
{
    uint32_t timeout_ms = backend->shared->timeout_ms;
    struct sc_buf *out = sc_sp_send_begin(backend->link, call, timeout_ms);
    if (backend->has_clock) {
        sc_msg_put_by(out, sc_clock_mono_ms() + backend->ahead_ms + timeout_ms);
    }
    return out;
}

static void send_next(struct sc_backend *backend, enum sc_backend_lane lane)
{
    struct lane *from = &backend->lanes[lane];
    struct flight *flight = take_flight(backend, lane);
    size_t count = next_message(&from->waiting);
    if (count == sc_run_count(&from->waiting)) {
        sc_run_swap(&flight->run, &from->waiting);
    } else {
        sc_run_move(&from->waiting, count, &flight->run);
    }
    struct sc_buf *out = begin_message(backend, &flight->call);
    sc_msg_put_op(out, lane == SC_BACKEND_READS ? SC_OP_X_PEEK : SC_OP_X_JOIN, 1);
    sc_mp_put_array(out, (uint32_t)count);
    sc_buf_append_slice(out, sc_run_bytes(&flight->run));
    sc_sp_send_end(backend->link);
    from->in_flight++;
    backend->counts.messages++;
    backend->counts.operations += count;
}

/* Ends every request of a run with one status. */
static void fail_run(struct sc_backend *backend, struct sc_run *run, enum sc_status status,
                     const char *why)
{
    for (size_t i = 0; i < sc_run_count(run); i++) {
        answer_status(&sc_run_item(run, i)->target, status, why);
    }
    backend->outstanding -= sc_run_count(run);
    sc_run_reset(run);
}

static const struct sc_sp_origin *origin_of(const struct sc_run_target *target)
{
    return target->gather != NULL ? sc_gather_origin(target->gather) : &target->origin;
}

static bool is_stuffed(const struct sc_run_target *target)
{
    return sc_sp_stuffed(origin_of(target));
}

static bool has_room(const struct sc_run_target *target)
{
    return !is_stuffed(target);
}

static bool is_gone(const struct sc_run_target *target)
{
    return sc_sp_gone(origin_of(target));
}

/* Nobody waits for these reads any more. */
static void drop_gone(struct sc_backend *backend, struct sc_run *reads)
{
    struct sc_run gone = {0};
    if (sc_run_sift(reads, is_gone, &gone) > 0) {
        fail_run(backend, &gone, SC_UNAVAILABLE, "the client has gone");
    }
    sc_run_fini(&gone);
}

/* Puts aside what nobody would take the replies of now, and takes back what was when somebody does.
 * The requests of one connection keep their order: all that wait are put aside, or none. */
static void sift(struct sc_backend *backend, enum sc_backend_lane which)
{
    struct lane *lane = &backend->lanes[which];
    uint64_t relieved = sc_sp_hub_relieved(backend->shared->hub);
    if (sc_run_count(&lane->aside) > 0 && lane->relieved != relieved) {
        backend->outstanding += sc_run_sift(&lane->aside, has_room, &lane->waiting);
    }
    lane->relieved = relieved;
    if (which != SC_BACKEND_WRITES) {
        drop_gone(backend, &lane->waiting);
    }
    backend->outstanding -= sc_run_sift(&lane->waiting, is_stuffed, &lane->aside);
}

static bool may_send(const struct sc_backend *backend, enum sc_backend_lane lane)
{
    return sc_backend_up(backend) && backend->lanes[lane].in_flight < in_flight_max[lane];
}

void sc_backend_flush(struct sc_backend *backend)
{
    for (int lane = 0; lane < SC_BACKEND_LANES; lane++) {
        if (may_send(backend, (enum sc_backend_lane)lane)) {
            sift(backend, (enum sc_backend_lane)lane);
        }
        while (may_send(backend, (enum sc_backend_lane)lane) &&
               sc_run_count(&backend->lanes[lane].waiting) > 0) {
            send_next(backend, (enum sc_backend_lane)lane);
        }
    }
}

/* Ends every request that has not been sent. */
static void fail_waiting(struct sc_backend *backend, const char *why)
{
    for (int lane = 0; lane < SC_BACKEND_LANES; lane++) {
        backend->outstanding += sc_run_count(&backend->lanes[lane].aside);
        fail_run(backend, &backend->lanes[lane].aside, SC_UNAVAILABLE, why);
        fail_run(backend, &backend->lanes[lane].waiting, SC_UNAVAILABLE, why);
    }
}

/* Reads may be repeated by whoever asked: they are unavailable, not unknown. */
static void fail_flight(struct flight *flight)
{
    struct sc_backend *backend = flight->backend;
    char why[SC_WHY_SIZE];
    bool write = flight->lane == SC_BACKEND_WRITES;
    sc_why(why, "shard %" PRIu32 " at %s gave no answer%s", backend->shard_id, backend->url,
           write ? ": the write may or may not have been applied" : "");
    fail_run(backend, &flight->run, write ? SC_UNKNOWN : SC_UNAVAILABLE, why);
}

/* Puts the requests that are left, which the shard has not begun, back in front of their lane. */
static void requeue(struct flight *flight)
{
    struct sc_run *waiting = &flight->backend->lanes[flight->lane].waiting;
    sc_run_move(waiting, sc_run_count(waiting), &flight->run);
    sc_run_swap(&flight->run, waiting);
}

static bool is_sent_back(struct sc_slice reply, uint8_t status)
{
    const uint8_t *bytes = reply.data;
    return reply.size == 2 && bytes[0] == 0x91 && bytes[1] == status;
}

static bool has_cold(const struct sc_run_target *target)
{
    return target->gather != NULL && sc_gather_has_cold(target->gather);
}

/* The oldest request of the flight waits for the disk, in the lane for that. */
static void move_to_cold(struct flight *flight)
{
    struct sc_backend *backend = flight->backend;
    struct lane *cold = &backend->lanes[SC_BACKEND_COLD];
    const struct sc_run_item *item = sc_run_item(&flight->run, 0);
    if (is_full(cold)) {
        answer_status(&item->target, SC_BUSY, TOO_MUCH_WAITS);
        sc_run_pop(&flight->run);
        backend->outstanding--;
        return;
    }
    if (item->target.gather != NULL) {
        sc_gather_set_cold(item->target.gather);
    }
    sc_run_move(&flight->run, 1, &cold->waiting);
}

/* Reads that wait must not overtake those of the same client's request that went to the other lane:
 * they may be on the same key. */
static void follow_to_cold(struct sc_backend *backend)
{
    struct lane *reads = &backend->lanes[SC_BACKEND_READS];
    struct lane *cold = &backend->lanes[SC_BACKEND_COLD];
    (void)sc_run_sift(&reads->waiting, has_cold, &cold->waiting);
    (void)sc_run_sift(&reads->aside, has_cold, &cold->aside);
}

/* A shard that was restarted has been granted nothing yet, or knows of a newer map: nothing was
 * applied. Clients hear of that as unavailable; moves are the coordinator's business. */
static bool is_moved(struct sc_slice reply)
{
    return reply.size > 2 && ((const uint8_t *)reply.data)[1] == SC_MOVED;
}

/* The shard refused the message as a whole, because it is shutting down for one: nothing was begun.
 */
static void refuse_flight(struct flight *flight, const struct sc_msg_reply *reply)
{
    char why[SC_WHY_SIZE];
    size_t length = reply->why.size < 255 ? reply->why.size : 255;
    enum sc_status status =
        reply->status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply->status;
    sc_why(why, "%.*s", (int)length, length > 0 ? (const char *)reply->why.data : "");
    fail_run(flight->backend, &flight->run, status, why);
}

/* Takes a reply to a message of a lane apart and answers whoever asked. False when the reply makes
 * no sense: the requests that were not answered are then left in the flight. */
static bool deliver(struct flight *flight, struct sc_slice body)
{
    struct sc_backend *backend = flight->backend;
    struct sc_msg_reply reply;
    uint32_t count = 0;
    bool cold = false;
    if (!sc_msg_parse_reply(body, &reply)) {
        return false;
    }
    if (reply.status != SC_OK) {
        refuse_flight(flight, &reply);
        return true;
    }
    if (!sc_mp_array(&reply.result, &count) || count != sc_run_count(&flight->run)) {
        return false;
    }
    for (; count > 0; count--) {
        struct sc_slice raw;
        if (!sc_mp_skip(&reply.result, &raw) || raw.size < 2) {
            return false;
        }
        if (is_sent_back(raw, SC_MSG_AGAIN)) {
            requeue(flight);
            break;
        }
        if (is_sent_back(raw, SC_MSG_COLD)) {
            move_to_cold(flight);
            cold = true;
            continue;
        }
        const struct sc_run_item *item = sc_run_item(&flight->run, 0);
        if (is_moved(raw)) {
            answer_status(&item->target, SC_UNAVAILABLE,
                          "the shard has not been told yet that this slot is its own");
        } else {
            answer(&item->target, raw);
        }
        sc_run_pop(&flight->run);
        backend->outstanding--;
    }
    if (cold) {
        follow_to_cold(backend);
    }
    return true;
}

static void on_joined(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    struct flight *flight = (struct flight *)call;
    struct sc_backend *backend = flight->backend;
    const char *trouble = NULL;
    backend->lanes[flight->lane].in_flight--;
    if (status != SC_OK) {
        trouble = "it gave no answer in time";
    } else if (!deliver(flight, reply)) {
        trouble = "it sent a reply that makes no sense";
    }
    if (trouble != NULL) {
        fail_flight(flight);
        if (sc_sp_link_up(backend->link)) {
            sc_log_error("closing the connection to %s: %s", backend->url, trouble);
            sc_sp_link_reset(backend->link, trouble);
        }
    }
    give_back_flight(flight);
}

/* ---- Submitting ---- */

struct sc_buf *sc_backend_submit_begin(struct sc_backend *backend, enum sc_backend_lane lane,
                                       const struct sc_run_target *target)
{
    struct lane *to = &backend->lanes[lane];
    if (!sc_backend_up(backend)) {
        answer_status(target, SC_UNAVAILABLE, sc_backend_why(backend));
        return NULL;
    }
    if (is_full(to)) {
        answer_status(target, SC_BUSY, TOO_MUCH_WAITS);
        return NULL;
    }
    backend->outstanding++;
    return sc_run_push_begin(&to->waiting, target);
}

void sc_backend_submit_end(struct sc_backend *backend, enum sc_backend_lane lane)
{
    sc_run_push_end(&backend->lanes[lane].waiting);
}

void sc_backend_call(struct sc_backend *backend, struct sc_backend_call *call,
                     struct sc_slice request)
{
    if (!sc_backend_up(backend)) {
        call->done(call, SC_UNAVAILABLE, sc_slice(NULL, 0));
        return;
    }
    struct sc_buf *out = begin_message(backend, call);
    sc_buf_append_slice(out, request);
    sc_sp_send_end(backend->link);
}

/* ---- Introduction ---- */

static void refuse(struct sc_backend *backend, const char *why)
{
    if (backend->state != REFUSED || strcmp(backend->refusal, why) != 0) {
        sc_log_error("shard %" PRIu32 " at %s is not used: %s", backend->shard_id, backend->url,
                     why);
    }
    backend->state = REFUSED;
    backend->retry_at_ms = sc_clock_mono_ms() + REFUSAL_RETRY_MS;
    sc_why(backend->refusal, "%s", why);
}

static void send_step(struct sc_backend *backend, enum state state, struct sc_slice request)
{
    if (!sc_sp_link_up(backend->link)) {
        return; /* the loss of the connection is about to make it DOWN */
    }
    backend->state = state;
    backend->step_busy = true;
    struct sc_buf *out = sc_sp_send_begin(backend->link, &backend->step, HELLO_TIMEOUT_MS);
    sc_buf_append_slice(out, request);
    sc_sp_send_end(backend->link);
}

/* `state`: HELLO, or REFUSED when a refused shard is asked once more. */
static void send_hello(struct sc_backend *backend, enum state state)
{
    struct sc_buf request = {0};
    sc_introduction_put_hello(&request);
    backend->hello_sent_ms = sc_clock_mono_ms();
    send_step(backend, state, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void send_adopt(struct sc_backend *backend)
{
    struct sc_buf request = {0};
    sc_introduction_put_adopt(backend->shared->cluster, backend->shard_id, &request);
    send_step(backend, ADOPT, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void send_grant(struct sc_backend *backend, enum state state)
{
    struct sc_buf request = {0};
    sc_introduction_put_grant(backend->shared->cluster, backend->shard_id, &request);
    send_step(backend, state, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

void sc_backend_grant(struct sc_backend *backend)
{
    if (backend->step_busy) {
        backend->grant_again = true;
    } else if (backend->state == UP || backend->state == ADOPTED) {
        send_grant(backend, backend->state == UP ? UP : GRANT);
    }
}

void sc_backend_adopted(struct sc_backend *backend)
{
    if (backend->state == ADOPTED && !backend->step_busy) {
        sc_backend_grant(backend);
    }
}

static void request_log_entry(struct sc_backend *backend)
{
    backend->state = ADOPTED;
    if (sc_introduction_is_adopted(backend->shared->cluster, backend->shard_id)) {
        sc_backend_grant(backend);
    } else {
        backend->shared->on_adopted(backend->shared->arg, backend);
    }
}

static void judge(struct sc_backend *backend, struct sc_msg_reply *hello)
{
    char why[SC_WHY_SIZE];
    uint64_t clock_ms = 0;
    enum sc_introduction_verdict verdict =
        sc_introduction_judge(backend->shared->cluster, backend->shard_id, hello, &clock_ms, why);
    backend->has_clock = clock_ms > 0;
    backend->ahead_ms = clock_ms - backend->hello_sent_ms;
    switch (verdict) {
    case SC_INTRODUCTION_ADOPT:
        send_adopt(backend);
        break;
    case SC_INTRODUCTION_KNOWN:
        request_log_entry(backend);
        break;
    case SC_INTRODUCTION_REFUSE:
        refuse(backend, why);
        break;
    }
}

/* Nobody waits for the answer: a shard that does not know a setting goes on without it. */
static void on_config(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    (void)status;
    (void)reply;
    free(call);
}

/* A shard that was restarted knows its flags only, not what was changed since. */
static void send_config(struct sc_backend *backend)
{
    if (backend->shared->config->given == 0) {
        return;
    }
    struct sc_backend_call *call = sc_calloc(1, sizeof *call);
    struct sc_buf request = {0};
    call->done = on_config;
    sc_msg_put_op(&request, SC_OP_CONFIG, 1);
    sc_config_put(backend->shared->config, false, &request);
    sc_backend_call(backend, call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void granted(struct sc_backend *backend)
{
    bool new = backend->state != UP;
    if (backend->state != UP) {
        sc_log_info("shard %" PRIu32 " at %s is up", backend->shard_id, backend->url);
    }
    backend->state = UP;
    if (new) {
        send_config(backend);
    }
    if (backend->grant_again) {
        backend->grant_again = false;
        send_grant(backend, UP);
    }
}

static void on_step(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct sc_backend *backend = ((struct step *)call)->backend;
    struct sc_msg_reply reply;
    backend->step_busy = false;
    if (status != SC_OK) {
        if (sc_sp_link_up(backend->link)) {
            sc_sp_link_reset(backend->link, "it gave no answer in time");
        }
        return; /* the loss of the connection makes it DOWN */
    }
    if (!sc_msg_parse_reply(body, &reply)) {
        refuse(backend, "what answers there is no shardcask shard");
    } else if (reply.status != SC_OK) {
        char why[SC_WHY_SIZE];
        sc_why(why, "it says: %.*s", (int)(reply.why.size < 255 ? reply.why.size : 255),
               (const char *)reply.why.data);
        refuse(backend, why);
    } else if (backend->state == HELLO || backend->state == REFUSED) {
        judge(backend, &reply);
    } else if (backend->state == ADOPT) {
        request_log_entry(backend);
    } else if (backend->state == GRANT || backend->state == UP) {
        granted(backend);
    }
}

void sc_backend_tick(struct sc_backend *backend)
{
    if (backend->state == REFUSED && !backend->step_busy &&
        sc_clock_mono_ms() >= backend->retry_at_ms) {
        backend->retry_at_ms = UINT64_MAX; /* until the answer */
        send_hello(backend, REFUSED);
    }
}

/* ---- The link ---- */

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct sc_backend *backend = arg;
    if (state == SC_SP_UP) {
        send_hello(backend, HELLO);
        return;
    }
    bool was_up = backend->state == UP;
    backend->state = DOWN;
    backend->grant_again = false;
    if (was_up && !backend->closing) {
        sc_log_warn("shard %" PRIu32 " at %s is down: %s", backend->shard_id, backend->url, why);
    }
    fail_waiting(backend, sc_backend_why(backend));
}

static void on_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct sc_backend_call *call = tag;
    (void)arg;
    call->done(call, status, body);
}

enum sc_status sc_backend_open(const struct sc_backend_shared *shared, uint32_t shard_id,
                               const char *url, struct sc_backend **out, char *why)
{
    struct sc_backend *backend = sc_calloc(1, sizeof *backend);
    backend->shared = shared;
    backend->shard_id = shard_id;
    (void)snprintf(backend->url, sizeof backend->url, "%s", url);
    backend->step.call.done = on_step;
    backend->step.backend = backend;
    struct sc_sp_link_options options = {
        .url = backend->url, .on_state = on_state, .on_reply = on_reply, .arg = backend};
    enum sc_status status = sc_sp_dial_locked(shared->hub, &options, &backend->link, why);
    if (status != SC_OK) {
        free(backend);
        return status;
    }
    *out = backend;
    return SC_OK;
}

void sc_backend_close(struct sc_backend *backend)
{
    if (backend == NULL) {
        return;
    }
    backend->closing = true;
    sc_sp_link_close(backend->link); /* ends what is in flight */
    backend->state = DOWN;
    fail_waiting(backend, "the coordinator is shutting down");
    for (int lane = 0; lane < SC_BACKEND_LANES; lane++) {
        sc_run_fini(&backend->lanes[lane].waiting);
        sc_run_fini(&backend->lanes[lane].aside);
    }
    while (backend->spare != NULL) {
        struct flight *flight = backend->spare;
        backend->spare = flight->next;
        sc_run_fini(&flight->run);
        free(flight);
    }
    free(backend);
}

uint32_t sc_backend_shard_id(const struct sc_backend *backend)
{
    return backend->shard_id;
}

/* A link that is lost is told of a little later (on_state): it must not be used meanwhile. */
bool sc_backend_up(const struct sc_backend *backend)
{
    return backend->state == UP && sc_sp_link_up(backend->link);
}

void sc_backend_counts(const struct sc_backend *backend, struct sc_backend_counts *counts)
{
    *counts = backend->counts;
    for (int lane = 0; lane < SC_BACKEND_LANES; lane++) {
        counts->waiting +=
            sc_run_count(&backend->lanes[lane].waiting) + sc_run_count(&backend->lanes[lane].aside);
    }
}

uint64_t sc_backend_outstanding(const struct sc_backend *backend)
{
    return backend->outstanding;
}

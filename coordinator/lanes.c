#include "coordinator/lanes.h"

#include "common/log.h"
#include "common/msg.h"
#include "coordinator/backend.h"
#include "coordinator/gather.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define JOIN_BYTES (1u << 20) /* a message of joined requests grows to about this */
#define JOIN_ITEMS 4096u /* ... or so many requests */
#define QUEUE_BYTES_MAX (256u << 20) /* more waiting in a lane: busy */
#define QUEUE_ITEMS_MAX (4u << 20)
#define TOO_MUCH_WAITS "too much is waiting for this shard: try again later"

/* A message in flight. */
struct sc_lanes_flight {
    struct sc_backend_call call; /* must be first: the tag of a send */
    struct sc_lanes *lanes;
    enum sc_lane lane;
    bool bulky; /* part of it may come back */
    uint64_t holds; /* that had been begun when it was sent */
    struct sc_run run;
    struct sc_lanes_flight *next; /* in the list of spare ones */
};

/* One message of reads at a time lets the next one grow meanwhile; a second message of writes gets
 * the shard's next commit ready while the last one is being synced; a message of cold reads takes
 * as long as the slowest of them, and others need not wait for that. The shard keeps the order on
 * each key. */
static const uint32_t in_flight_max[SC_LANES] = {
    [SC_LANE_READS] = 1, [SC_LANE_WRITES] = 2, [SC_LANE_COLD] = 8};

static void on_joined(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply);

static struct sc_lanes_flight *take_flight(struct sc_lanes *lanes, enum sc_lane lane)
{
    struct sc_lanes_flight *flight = lanes->spare;
    if (flight != NULL) {
        lanes->spare = flight->next;
    } else {
        flight = sc_calloc(1, sizeof *flight);
        flight->call.done = on_joined;
        flight->lanes = lanes;
    }
    flight->lane = lane;
    flight->bulky = false;
    flight->holds = lanes->holds;
    return flight;
}

static void give_back_flight(struct sc_lanes_flight *flight)
{
    sc_run_reset(&flight->run);
    flight->next = flight->lanes->spare;
    flight->lanes->spare = flight;
}

/* Ends every request of a run with one status. */
static void fail_run(struct sc_lanes *lanes, struct sc_run *run, enum sc_status status,
                     const char *why)
{
    for (size_t i = 0; i < sc_run_count(run); i++) {
        sc_target_answer_status(&sc_run_item(run, i)->target, status, why);
    }
    lanes->outstanding -= sc_run_count(run);
    sc_run_reset(run);
}

/* ---- Sifting ---- */

static bool is_stuffed(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return sc_sp_stuffed(sc_target_origin(target));
}

static bool has_room(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return !sc_sp_stuffed(sc_target_origin(target));
}

static bool is_gone(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return sc_sp_gone(sc_target_origin(target));
}

static bool has_cold(const void *arg, const struct sc_target *target)
{
    (void)arg;
    return target->gather != NULL && sc_gather_has_cold(target->gather);
}

static bool is_held(const void *arg, const struct sc_target *target)
{
    const struct sc_lanes *lanes = arg;
    return sc_slotset_has(&lanes->slots, target->slot);
}

/* Whether requests of this lane are held if their slots are. */
static bool holds_lane(const struct sc_lanes *lanes, enum sc_lane lane)
{
    return lanes->holding && (lane == SC_LANE_WRITES || lanes->holding_reads);
}

/* Nobody waits for these reads any more. */
static void drop_gone(struct sc_lanes *lanes, struct sc_run *reads)
{
    struct sc_run gone = {0};
    if (sc_run_sift(reads, is_gone, NULL, &gone) > 0) {
        fail_run(lanes, &gone, SC_UNAVAILABLE, "the client has gone");
    }
    sc_run_fini(&gone);
}

/* Puts aside what nobody would take the replies of now, and takes back what was when somebody does.
 * The requests of one connection keep their order: all that wait are put aside, or none. */
static void sift(struct sc_lanes *lanes, enum sc_lane which)
{
    struct sc_lanes_lane *lane = &lanes->lanes[which];
    uint64_t relieved = sc_sp_hub_relieved(sc_backend_hub(lanes->backend));
    if (sc_run_count(&lane->aside) > 0 && lane->relieved != relieved) {
        lanes->outstanding += sc_run_sift(&lane->aside, has_room, NULL, &lane->waiting);
    }
    lane->relieved = relieved;
    if (which != SC_LANE_WRITES) {
        drop_gone(lanes, &lane->waiting);
    }
    lanes->outstanding -= sc_run_sift(&lane->waiting, is_stuffed, NULL, &lane->aside);
}

/* ---- Sending ---- */

/* How many of the waiting requests make up the next message. */
static size_t next_message(const struct sc_run *waiting, bool *bulky)
{
    size_t bytes = 0;
    size_t count = 0;
    while (count < sc_run_count(waiting) && count < JOIN_ITEMS &&
           (count == 0 || bytes + sc_run_item(waiting, count)->size <= JOIN_BYTES)) {
        *bulky |= sc_run_item(waiting, count)->target.bulky;
        bytes += sc_run_item(waiting, count++)->size;
    }
    return count;
}

static void send_next(struct sc_lanes *lanes, enum sc_lane which)
{
    struct sc_lanes_lane *lane = &lanes->lanes[which];
    struct sc_lanes_flight *flight = take_flight(lanes, which);
    size_t count = next_message(&lane->waiting, &flight->bulky);
    flight->bulky &= which == SC_LANE_WRITES;
    if (count == sc_run_count(&lane->waiting)) {
        sc_run_swap(&flight->run, &lane->waiting);
    } else {
        sc_run_move(&lane->waiting, count, &flight->run);
    }
    struct sc_buf *out = sc_backend_begin(lanes->backend, &flight->call);
    sc_msg_put_op(out, which == SC_LANE_READS ? SC_OP_X_PEEK : SC_OP_X_JOIN, 1);
    sc_mp_put_array(out, (uint32_t)count);
    sc_buf_append_slice(out, sc_run_bytes(&flight->run));
    sc_backend_end(lanes->backend);
    lane->in_flight++;
    lane->bulky += flight->bulky ? 1 : 0;
    lanes->messages++;
    lanes->operations += count;
}

/* No write is sent behind a message of which part may come back: that has to be carried out first.
 */
static bool may_send(const struct sc_lanes *lanes, enum sc_lane which)
{
    const struct sc_lanes_lane *lane = &lanes->lanes[which];
    return sc_backend_up(lanes->backend) && lane->in_flight < in_flight_max[which] &&
           lane->bulky == 0;
}

void sc_lanes_flush(struct sc_lanes *lanes)
{
    for (int i = 0; i < SC_LANES; i++) {
        enum sc_lane lane = (enum sc_lane)i;
        if (may_send(lanes, lane)) {
            sift(lanes, lane);
        }
        while (may_send(lanes, lane) && sc_run_count(&lanes->lanes[lane].waiting) > 0) {
            send_next(lanes, lane);
        }
    }
}

/* ---- Replies ---- */

/* Reads may be repeated by whoever asked: they are unavailable, not unknown. */
static void fail_flight(struct sc_lanes_flight *flight)
{
    const struct sc_backend *backend = flight->lanes->backend;
    char why[SC_WHY_SIZE];
    bool write = flight->lane == SC_LANE_WRITES;
    sc_why(why, "shard %" PRIu32 " at %s gave no answer%s", sc_backend_shard_id(backend),
           sc_backend_url(backend), write ? ": the write may or may not have been applied" : "");
    fail_run(flight->lanes, &flight->run, write ? SC_UNKNOWN : SC_UNAVAILABLE, why);
}

/* Puts `first` in front of `run`. */
static void put_in_front(struct sc_run *first, struct sc_run *run)
{
    sc_run_move(run, sc_run_count(run), first);
    sc_run_swap(first, run);
}

/* Puts the requests that are left, which the shard has not begun, back in front of their lane: in
 * front of those that were put aside or held since, too, since they may be of the same client. */
static void requeue(struct sc_lanes_flight *flight)
{
    struct sc_lanes *lanes = flight->lanes;
    struct sc_lanes_lane *lane = &lanes->lanes[flight->lane];
    if (holds_lane(lanes, flight->lane)) {
        struct sc_run held = {0};
        (void)sc_run_sift(&flight->run, is_held, lanes, &held);
        put_in_front(&held, &lane->held);
        sc_run_fini(&held);
    }
    lanes->outstanding += sc_run_count(&lane->aside);
    put_in_front(&lane->aside, &lane->waiting);
    put_in_front(&flight->run, &lane->waiting);
}

static bool is_sent_back(struct sc_slice reply, uint8_t status)
{
    const uint8_t *bytes = reply.data;
    return reply.size == 2 && bytes[0] == 0x91 && bytes[1] == status;
}

static bool is_full(const struct sc_run *queue)
{
    return queue->bytes.size > QUEUE_BYTES_MAX || sc_run_count(queue) > QUEUE_ITEMS_MAX;
}

/* The oldest request of the flight waits for the disk, in the lane for that. */
static void move_to_cold(struct sc_lanes_flight *flight)
{
    struct sc_lanes *lanes = flight->lanes;
    struct sc_run *cold = &lanes->lanes[SC_LANE_COLD].waiting;
    const struct sc_run_item *item = sc_run_item(&flight->run, 0);
    if (is_full(cold)) {
        sc_target_answer_status(&item->target, SC_BUSY, TOO_MUCH_WAITS);
        sc_run_pop(&flight->run);
        lanes->outstanding--;
        return;
    }
    if (item->target.gather != NULL) {
        sc_gather_set_cold(item->target.gather);
    }
    sc_run_move(&flight->run, 1, cold);
}

/* Reads that wait must not overtake those of the same client's request that went to the other lane:
 * they may be on the same key. */
static void follow_to_cold(struct sc_lanes *lanes)
{
    struct sc_lanes_lane *reads = &lanes->lanes[SC_LANE_READS];
    struct sc_lanes_lane *cold = &lanes->lanes[SC_LANE_COLD];
    (void)sc_run_sift(&reads->waiting, has_cold, NULL, &cold->waiting);
    (void)sc_run_sift(&reads->aside, has_cold, NULL, &cold->aside);
}

static bool is_moved(struct sc_slice reply)
{
    return reply.size > 2 && ((const uint8_t *)reply.data)[1] == SC_MOVED;
}

/* The shard refused the message as a whole, because it is shutting down for one: nothing was begun.
 */
static void refuse_flight(struct sc_lanes_flight *flight, const struct sc_msg_reply *reply)
{
    char why[SC_WHY_SIZE];
    size_t length = reply->why.size < 255 ? reply->why.size : 255;
    enum sc_status status =
        reply->status == SC_MOVED ? SC_UNAVAILABLE : (enum sc_status)reply->status;
    sc_why(why, "%.*s", (int)length, length > 0 ? (const char *)reply->why.data : "");
    fail_run(flight->lanes, &flight->run, status, why);
}

/* The shard does not own the slot: nothing was applied. A read is sent to whoever does. No write
 * comes here, since what was sent is waited for before a slot is handed over; if one does, it is
 * not known what of the same client has to be carried out before it. */
static void bounce(const struct sc_lanes_flight *flight)
{
    const struct sc_run_item *item = sc_run_item(&flight->run, 0);
    if (flight->lane != SC_LANE_WRITES) {
        struct sc_slice request = sc_slice(sc_run_bytes(&flight->run).data, item->size);
        sc_backend_bounce(flight->lanes->backend, &item->target, request);
    } else {
        sc_target_answer_status(&item->target, SC_UNAVAILABLE,
                                "the shard has not been told yet that this slot is its own");
    }
}

/* Takes a reply to a message apart and answers whoever asked. False when the reply makes no sense:
 * the requests that were not answered are then left in the flight. */
static bool deliver(struct sc_lanes_flight *flight, struct sc_slice body)
{
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
        if (is_moved(raw)) {
            bounce(flight);
        } else {
            sc_target_answer(&sc_run_item(&flight->run, 0)->target, raw);
        }
        sc_run_pop(&flight->run);
        flight->lanes->outstanding--;
    }
    if (cold) {
        follow_to_cold(flight->lanes);
    }
    return true;
}

static void on_joined(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    struct sc_lanes_flight *flight = (struct sc_lanes_flight *)call;
    struct sc_lanes *lanes = flight->lanes;
    struct sc_lanes_lane *lane = &lanes->lanes[flight->lane];
    const char *trouble = NULL;
    lane->in_flight--;
    lane->bulky -= flight->bulky ? 1 : 0;
    if (flight->lane == SC_LANE_WRITES && flight->holds < lanes->holds) {
        lanes->before_hold--;
    }
    if (status != SC_OK) {
        trouble = "it gave no answer in time";
    } else if (!deliver(flight, reply)) {
        trouble = "it sent a reply that makes no sense";
    }
    if (trouble != NULL) {
        fail_flight(flight);
        sc_backend_reset(lanes->backend, trouble);
    }
    give_back_flight(flight);
}

/* ---- Submitting ---- */

/* Where the request goes. */
static struct sc_run *run_for(struct sc_lanes *lanes, enum sc_lane lane,
                              const struct sc_target *target)
{
    struct sc_lanes_lane *to = &lanes->lanes[lane];
    return holds_lane(lanes, lane) && is_held(lanes, target) ? &to->held : &to->waiting;
}

struct sc_buf *sc_lanes_submit_begin(struct sc_lanes *lanes, enum sc_lane lane,
                                     const struct sc_target *target)
{
    struct sc_run *to = run_for(lanes, lane, target);
    if (!sc_backend_up(lanes->backend)) {
        sc_target_answer_status(target, SC_UNAVAILABLE, sc_backend_why(lanes->backend));
        return NULL;
    }
    if (is_full(to)) {
        sc_target_answer_status(target, SC_BUSY, TOO_MUCH_WAITS);
        return NULL;
    }
    lanes->outstanding++;
    return sc_run_push_begin(to, target);
}

void sc_lanes_submit_end(struct sc_lanes *lanes, enum sc_lane lane, const struct sc_target *target)
{
    sc_run_push_end(run_for(lanes, lane, target));
}

/* ---- Holding ---- */

void sc_lanes_hold(struct sc_lanes *lanes, const struct sc_slotset *slots, bool reads)
{
    assert(!lanes->holding);
    lanes->holding = true;
    lanes->holding_reads = reads;
    lanes->slots = *slots;
    lanes->holds++;
    lanes->before_hold = lanes->lanes[SC_LANE_WRITES].in_flight;
    for (int i = 0; i < SC_LANES; i++) {
        struct sc_lanes_lane *lane = &lanes->lanes[i];
        if (holds_lane(lanes, (enum sc_lane)i)) {
            lanes->outstanding += sc_run_sift(&lane->aside, is_held, lanes, &lane->held);
            (void)sc_run_sift(&lane->waiting, is_held, lanes, &lane->held);
        }
    }
}

bool sc_lanes_quiet(const struct sc_lanes *lanes)
{
    return lanes->before_hold == 0;
}

void sc_lanes_release(struct sc_lanes *lanes)
{
    for (int i = 0; i < SC_LANES; i++) {
        struct sc_lanes_lane *lane = &lanes->lanes[i];
        sc_run_move(&lane->held, sc_run_count(&lane->held), &lane->waiting);
    }
    lanes->holding = lanes->holding_reads = false;
}

void sc_lanes_hand_over(struct sc_lanes *from, struct sc_lanes *to)
{
    assert(from->holding);
    sc_lanes_hold(to, &from->slots, true);
    for (int i = 0; i < SC_LANES; i++) {
        struct sc_run *held = &from->lanes[i].held;
        from->outstanding -= sc_run_count(held);
        to->outstanding += sc_run_count(held);
        sc_run_move(held, sc_run_count(held), &to->lanes[i].held);
    }
    from->holding = from->holding_reads = false;
    if (!sc_backend_up(to->backend)) {
        sc_lanes_fail(to, sc_backend_why(to->backend));
    }
}

void sc_lanes_fail(struct sc_lanes *lanes, const char *why)
{
    lanes->holding = lanes->holding_reads = false;
    for (int i = 0; i < SC_LANES; i++) {
        struct sc_lanes_lane *lane = &lanes->lanes[i];
        lanes->outstanding += sc_run_count(&lane->aside);
        fail_run(lanes, &lane->aside, SC_UNAVAILABLE, why);
        fail_run(lanes, &lane->waiting, SC_UNAVAILABLE, why);
        fail_run(lanes, &lane->held, SC_UNAVAILABLE, why);
    }
}

/* ---- The rest ---- */

uint64_t sc_lanes_waiting(const struct sc_lanes *lanes)
{
    uint64_t sum = 0;
    for (int i = 0; i < SC_LANES; i++) {
        const struct sc_lanes_lane *lane = &lanes->lanes[i];
        sum +=
            sc_run_count(&lane->waiting) + sc_run_count(&lane->aside) + sc_run_count(&lane->held);
    }
    return sum;
}

void sc_lanes_init(struct sc_lanes *lanes, struct sc_backend *backend)
{
    *lanes = (struct sc_lanes){.backend = backend};
}

void sc_lanes_fini(struct sc_lanes *lanes)
{
    for (int i = 0; i < SC_LANES; i++) {
        sc_run_fini(&lanes->lanes[i].waiting);
        sc_run_fini(&lanes->lanes[i].aside);
        sc_run_fini(&lanes->lanes[i].held);
    }
    while (lanes->spare != NULL) {
        struct sc_lanes_flight *flight = lanes->spare;
        lanes->spare = flight->next;
        sc_run_fini(&flight->run);
        free(flight);
    }
}

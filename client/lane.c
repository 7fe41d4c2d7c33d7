#include "client/lane.h"

#include "client/operation.h"
#include "client/value.h"
#include "common/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A message without a reply for so long no longer holds up its lane. */
#define STALL_MS 25

/* Messages on their way at a time, at most; in CALLS all of them, else with those that stall. */
#define SENT_MAX 64

/* Messages of READS, and of WRITES, on their way at a time: while the callers of the one wake up
 * and ask for more, the server has the other. More would only make them smaller. */
#define SENT_BY_CALLERS 2

/* How long a message is waited for after the last of its operations has run out of time, so that a
 * tick ends the operations first. */
#define GRACE_MS 1000

static const char late[] = "no reply before the time-out";
static const char broken[] = "the connection broke before the reply came";
static const char senseless[] = "the server's reply makes no sense";

struct sc_message {
    struct sc_message *next;
    struct sc_lane *lane;
    uint64_t sent_ms;
    bool writes; /* something in it may change data */
    bool stalled;
    size_t count;
    size_t capacity;
    struct sc_item *items;
};

void sc_lane_init(struct sc_lane *lane, enum sc_lane_kind kind,
                  const struct sc_lane_options *options)
{
    *lane = (struct sc_lane){.kind = kind, .options = *options};
    lane->options.join_max = kind == SC_LANE_CALLS ? 1 : options->join_max;
    sc_intake_init(&lane->intake);
}

void sc_lane_fini(struct sc_lane *lane)
{
    assert(lane->sent == NULL && lane->intake.queue == NULL && lane->again_count == 0);
    while (lane->spare != NULL) {
        struct sc_message *message = lane->spare;
        lane->spare = message->next;
        free(message->items);
        free(message);
    }
    free(lane->again);
}

/* ---- Items ---- */

static struct shardcask_op *job_op(const struct sc_job *job, size_t index)
{
    return &job->ops[job->order != NULL ? job->order[index] : index];
}

static struct shardcask_op *op_of(const struct sc_item *item)
{
    return item->job->ops != NULL ? job_op(item->job, item->index) : NULL;
}

static bool item_writes(const struct sc_item *item)
{
    const struct shardcask_op *op = op_of(item);
    return op != NULL ? sc_operation_writes(op) : !item->job->repeatable;
}

static size_t item_size(const struct sc_item *item)
{
    const struct shardcask_op *op = op_of(item);
    return op != NULL ? sc_operation_size(op) : item->job->request.size;
}

static void push_again(struct sc_lane *lane, const struct sc_item *item)
{
    if (lane->again_count == lane->again_capacity) {
        lane->again_capacity = lane->again_capacity == 0 ? 16 : lane->again_capacity * 2;
        lane->again = sc_realloc(lane->again, lane->again_capacity * sizeof *lane->again);
    }
    lane->again[lane->again_count++] = *item;
}

/* Counts an operation that has got its status, and ends its job with the last one. A job of which
 * a part has not been sent yet takes its turn again when the part before has ended, which keeps the
 * order of its operations. */
static void count_end(struct sc_lane *lane, struct sc_item *item)
{
    struct sc_job *job = item->job;
    item->job = NULL;
    assert(job->away > 0 && job->left > 0);
    job->away--;
    job->left--;
    if (job->left == 0) {
        job->ended(job);
    } else if (job->away == 0) {
        sc_intake_put_back(&lane->intake, job);
    }
}

/* Ends an operation that shares the fate of its message. */
static void fail_item(struct sc_lane *lane, struct sc_item *item, int status, struct sc_slice why)
{
    struct sc_job *job = item->job;
    struct shardcask_op *op = op_of(item);
    job->status = status;
    if (op != NULL) {
        sc_operation_fail(op, status, why);
    } else {
        job->why = sc_alloc(why.size + 1);
        memcpy(job->why, why.data, why.size);
        job->why[why.size] = '\0';
    }
    count_end(lane, item);
}

/* ---- Sending ---- */

static struct sc_message *new_message(struct sc_lane *lane)
{
    struct sc_message *message = lane->spare;
    if (message == NULL) {
        message = sc_calloc(1, sizeof *message);
        message->lane = lane;
    } else {
        lane->spare = message->next;
    }
    message->count = 0;
    message->writes = false;
    message->stalled = false;
    return message;
}

static void add_item(struct sc_message *message, const struct sc_item *item)
{
    if (message->count == message->capacity) {
        message->capacity = message->capacity == 0 ? 8 : message->capacity * 2;
        message->items = sc_realloc(message->items, message->capacity * sizeof *message->items);
    }
    message->items[message->count++] = *item;
    message->writes = message->writes || item_writes(item);
}

/* True when one more item of `size` bytes may join the message. */
static bool has_room(const struct sc_message *message, size_t bytes, size_t size)
{
    const struct sc_lane_options *options = &message->lane->options;
    return message->count == 0 ||
           (message->count < options->join_max && size <= options->join_bytes &&
            bytes <= options->join_bytes - size);
}

/* Fills a message from what is to be sent again; true when nothing may join it any more. */
static bool fill_again(struct sc_message *message, size_t *bytes)
{
    struct sc_lane *lane = message->lane;
    size_t taken = 0;
    bool closed = false;
    while (taken < lane->again_count && !closed) {
        const struct sc_item *item = &lane->again[taken];
        size_t size = item_size(item);
        if (!has_room(message, *bytes, size) || (item->alone && message->count > 0)) {
            closed = true;
            break;
        }
        add_item(message, item);
        *bytes += size;
        closed = item->alone;
        taken++;
    }
    lane->again_count -= taken;
    if (taken > 0) {
        memmove(lane->again, lane->again + taken, lane->again_count * sizeof *lane->again);
    }
    return closed;
}

/* Fills a message with the operations of the first job of the queue; true when nothing may join it
 * any more. */
static bool fill_from_job(struct sc_message *message, size_t *bytes)
{
    struct sc_lane *lane = message->lane;
    struct sc_job *job = lane->intake.queue;
    bool closed = false;
    while (job->next_op < job->count && !closed) {
        struct sc_item item = {job, job->next_op, false};
        const struct shardcask_op *op = op_of(&item);
        if (op == NULL || op->status == SC_OPERATION_PENDING) {
            size_t size = item_size(&item);
            if (!has_room(message, *bytes, size)) {
                closed = true;
                break;
            }
            add_item(message, &item);
            *bytes += size;
            job->away++;
        }
        job->next_op++;
    }
    /* What is left of the job waits until this part has ended (count_end). */
    if (!closed || job->away > 0) {
        sc_intake_pop(&lane->intake);
    }
    return closed;
}

static void encode(const struct sc_message *message, struct sc_buf *out)
{
    const struct sc_item *item = message->items;
    const struct shardcask_op *op = op_of(item);
    if (op == NULL) {
        sc_buf_append_slice(out, item->job->request);
        return;
    }
    if (message->count == 1) {
        sc_operation_encode(op, out);
        return;
    }
    sc_msg_put_op(out, SC_OP_BATCH, 1);
    sc_mp_put_array(out, (uint32_t)message->count);
    for (size_t i = 0; i < message->count; i++) {
        sc_operation_encode(op_of(&message->items[i]), out);
    }
}

/* When the last of the operations runs out of time. */
static uint64_t message_deadline(const struct sc_message *message)
{
    uint64_t last = message->sent_ms;
    for (size_t i = 0; i < message->count; i++) {
        uint64_t deadline = message->items[i].job->deadline_ms;
        last = deadline > last ? deadline : last;
    }
    return last;
}

/* The link waits a little longer for the reply than the operations, and the server does not begin
 * what nobody waits for any more. */
static void send_message(struct sc_message *message, struct sc_sp_link *link)
{
    const struct sc_lane_clock *clock = message->lane->options.clock;
    uint64_t deadline = message_deadline(message);
    uint64_t timeout = deadline - message->sent_ms + GRACE_MS;
    struct sc_buf *out =
        sc_sp_send_begin(link, message, timeout < UINT32_MAX ? (uint32_t)timeout : UINT32_MAX);
    if (clock->known) {
        sc_msg_put_by(out, deadline + clock->ahead_ms);
    }
    encode(message, out);
    sc_sp_send_end(link);
}

/* Sends one message; false when there is nothing to send. */
static bool send_one(struct sc_lane *lane, struct sc_sp_link *link)
{
    if (lane->intake.queue == NULL && lane->again_count == 0) {
        return false;
    }
    struct sc_message *message = new_message(lane);
    size_t bytes = 0;
    bool closed = fill_again(message, &bytes);
    while (!closed && lane->intake.queue != NULL) {
        closed = fill_from_job(message, &bytes);
    }
    assert(message->count > 0);
    message->sent_ms = sc_clock_mono_ms();
    message->next = lane->sent;
    lane->sent = message;
    lane->sent_count++;
    send_message(message, link);
    return true;
}

static size_t window(const struct sc_lane *lane)
{
    switch (lane->kind) {
    case SC_LANE_ORDERED:
        return 1;
    case SC_LANE_CALLS:
        return SENT_MAX;
    default:
        return SENT_BY_CALLERS;
    }
}

static bool may_send(const struct sc_lane *lane)
{
    return lane->sent_count - lane->stalled < window(lane) && lane->sent_count < SENT_MAX;
}

bool sc_lane_push(struct sc_lane *lane, struct sc_job *job)
{
    assert(job->left > 0 && job->away == 0);
    return sc_intake_push(&lane->intake, job);
}

void sc_lane_pump(struct sc_lane *lane, struct sc_sp_link *link)
{
    do {
        sc_intake_take(&lane->intake);
        while (sc_sp_link_up(link) && may_send(lane) && send_one(lane, link)) {
        }
    } while (sc_intake_rest(&lane->intake, may_send(lane)));
}

/* ---- Replies ---- */

/* True when a later operation of the same job writes the key of this one: then it must not be
 * carried out any later. */
static bool is_written_later(const struct sc_item *item)
{
    const struct sc_job *job = item->job;
    const struct shardcask_op *op = op_of(item);
    for (size_t i = item->index + 1; i < job->count; i++) {
        const struct shardcask_op *later = job_op(job, i);
        if (sc_operation_writes(later) && later->key_size == op->key_size &&
            memcmp(later->key, op->key, op->key_size) == 0) {
            return true;
        }
    }
    return false;
}

/* [6, why, epoch, address]: the cursor is behind `why`. */
static void note_move(struct sc_job *job, struct sc_mp rest)
{
    uint64_t epoch = 0;
    if (sc_mp_uint(&rest, &epoch) && epoch > job->moved_epoch) {
        job->moved_epoch = epoch;
    }
}

/* Gives an operation its reply; false when it makes no sense. */
static bool end_item(struct sc_message *message, struct sc_item *item, struct sc_slice body)
{
    struct sc_lane *lane = message->lane;
    struct shardcask_op *op = op_of(item);
    struct sc_msg_reply reply;
    if (!sc_msg_parse_reply(body, &reply)) {
        return false;
    }
    if (op == NULL) {
        sc_value_copy(item->job->reply, body);
        count_end(lane, item);
        return true;
    }
    if (reply.status == SC_TOOLARGE && message->count > 1 && !sc_operation_writes(op) &&
        !is_written_later(item)) {
        item->alone = true;
        push_again(lane, item);
        item->job = NULL;
        return true;
    }
    if (reply.status == SC_MOVED) {
        note_move(item->job, reply.result);
    }
    if (!sc_operation_end(op, &reply)) {
        return false;
    }
    count_end(lane, item);
    return true;
}

static void fail_message(struct sc_message *message, int status, struct sc_slice why)
{
    for (size_t i = 0; i < message->count; i++) {
        if (message->items[i].job != NULL) {
            fail_item(message->lane, &message->items[i], status, why);
        }
    }
}

/* Gives every operation of a joined message its part of the reply. */
static bool end_joined(struct sc_message *message, struct sc_slice body)
{
    struct sc_msg_reply reply;
    uint32_t count = 0;
    if (!sc_msg_parse_reply(body, &reply)) {
        return false;
    }
    if (reply.status != SC_OK) {
        fail_message(message, reply.status, reply.why);
        return true;
    }
    struct sc_mp mp = reply.result;
    if (!sc_mp_array(&mp, &count) || count != message->count) {
        return false;
    }
    for (size_t i = 0; i < message->count; i++) {
        struct sc_slice part;
        struct sc_item *item = &message->items[i];
        if (!sc_mp_skip(&mp, &part) || (item->job != NULL && !end_item(message, item, part))) {
            return false;
        }
    }
    return sc_mp_done(&mp);
}

/* The connection broke, or the time ran out. */
static void end_lost(struct sc_message *message)
{
    struct sc_lane *lane = message->lane;
    uint64_t now_ms = sc_clock_mono_ms();
    for (size_t i = 0; i < message->count; i++) {
        struct sc_item *item = &message->items[i];
        if (item->job == NULL) {
            continue;
        }
        if (now_ms >= item->job->deadline_ms) {
            fail_item(lane, item, SC_UNKNOWN, sc_slice_str(late));
        } else if (message->writes) {
            fail_item(lane, item, SC_UNKNOWN, sc_slice_str(broken));
        } else {
            push_again(lane, item);
        }
    }
}

/* Takes a message from those on their way. */
static void unlink_message(struct sc_message *message)
{
    struct sc_lane *lane = message->lane;
    struct sc_message **link = &lane->sent;
    while (*link != message) {
        link = &(*link)->next;
    }
    *link = message->next;
    lane->sent_count--;
    lane->stalled -= message->stalled;
}

uint64_t sc_lane_sent_ms(const void *tag)
{
    const struct sc_message *message = tag;
    return message->sent_ms;
}

bool sc_lane_reply(void *tag, enum sc_status status, struct sc_slice body)
{
    struct sc_message *message = tag;
    struct sc_lane *lane = message->lane;
    bool sense = true;
    unlink_message(message);
    if (status != SC_OK) {
        end_lost(message);
    } else if (message->count > 1) {
        sense = end_joined(message, body);
    } else if (message->items[0].job != NULL) {
        sense = end_item(message, &message->items[0], body);
    }
    if (!sense) {
        fail_message(message, SC_INTERNAL, sc_slice_str(senseless));
    }
    message->next = lane->spare;
    lane->spare = message;
    return sense;
}

/* ---- Time-outs ---- */

static void tick_sent(struct sc_lane *lane, uint64_t now_ms)
{
    bool one_by_one = lane->kind == SC_LANE_ORDERED || lane->kind == SC_LANE_CALLS;
    for (struct sc_message *message = lane->sent; message != NULL; message = message->next) {
        if (!message->stalled && !one_by_one && now_ms - message->sent_ms >= STALL_MS) {
            message->stalled = true;
            lane->stalled++;
        }
        for (size_t i = 0; i < message->count; i++) {
            struct sc_item *item = &message->items[i];
            if (item->job != NULL && now_ms >= item->job->deadline_ms) {
                fail_item(lane, item, SC_UNKNOWN, sc_slice_str(late));
            }
        }
    }
}

/* Ends the first job's operations that were not sent; none of it is on its way. */
static void fail_first(struct sc_lane *lane, struct sc_slice why)
{
    struct sc_job *job = lane->intake.queue;
    sc_intake_pop(&lane->intake);
    job->unsent = true;
    /* All are on their way, for a moment, so that the job ends with the last and not before. */
    size_t first = job->next_op;
    job->next_op = job->count;
    job->away = job->left;
    for (size_t i = first, left = job->left; left > 0; i++) {
        struct sc_item item = {job, i, false};
        const struct shardcask_op *op = op_of(&item);
        if (op == NULL || op->status == SC_OPERATION_PENDING) {
            left--;
            fail_item(lane, &item, SC_UNAVAILABLE, why);
        }
    }
}

static void tick_unsent(struct sc_lane *lane, uint64_t now_ms, struct sc_slice why)
{
    size_t kept = 0;
    for (size_t i = 0; i < lane->again_count; i++) {
        struct sc_item item = lane->again[i];
        if (now_ms >= item.job->deadline_ms) {
            item.job->unsent = true;
            fail_item(lane, &item, SC_UNAVAILABLE, why);
        } else {
            lane->again[kept++] = item;
        }
    }
    lane->again_count = kept;
    /* The deadlines of a handle's jobs come in the order of the queue, near enough for a tick. */
    while (lane->intake.queue != NULL && now_ms >= lane->intake.queue->deadline_ms) {
        fail_first(lane, why);
    }
}

void sc_lane_tick(struct sc_lane *lane, uint64_t now_ms, const char *why_down)
{
    sc_intake_take(&lane->intake);
    tick_sent(lane, now_ms);
    char why[SC_WHY_SIZE];
    (void)sc_fail(why, SC_UNAVAILABLE, "not sent before the time-out: %s",
                  *why_down != '\0' ? why_down : "too much is waiting");
    tick_unsent(lane, now_ms, sc_slice_str(why));
}

void sc_lane_abandon(struct sc_lane *lane, const char *why)
{
    do {
        sc_intake_take(&lane->intake);
        tick_unsent(lane, UINT64_MAX, sc_slice_str(why));
    } while (sc_intake_rest(&lane->intake, true));
}

#include "shard/task.h"

#include "common/clock.h"
#include "shard/ops.h"
#include "shard/page.h"

#include <assert.h>
#include <stdlib.h>

#define JOIN_REPLY_SOFT_MAX (4u << 20) /* an x.join reply stops growing here */
#define ITEM_ERROR_MAX 128u /* bytes kept free in a reply for each item that is still to come */
#define VALUE_HEAD_MAX 16u /* of a get's reply beside the value */
#define SCRATCH_KEEP (1u << 20)
#define AHEAD 16u /* items that are looked at before the first of them is begun */

/* The place of a parked item's reply. */
struct hole {
    size_t at; /* in the reply */
    size_t expected; /* bytes; once filled, those that came */
    struct sc_buf bytes;
};

struct sc_task {
    struct sc_tasks *tasks;
    struct sc_sp_origin origin;
    uint64_t deadline_ms;
    struct sc_slice body; /* the message: the caller's, or `copy` */
    uint8_t *copy; /* NULL: nothing is parked */
    struct sc_msg_request request; /* of a batch: with the cursor at the next item */
    uint32_t next; /* the next item to be begun */
    uint32_t waiting; /* items begun and not carried out */
    bool again; /* an x.join or x.peek that sends back what was not begun */
    bool cold; /* an x.peek that sends back all that could be parked */
    bool late; /* the deadline has passed: nothing more is begun */
    sc_bitcask_position position;
    struct sc_buf reply; /* without what goes into the holes */
    size_t promised; /* bytes expected in all holes */
    size_t charged; /* to the origin */
    struct hole *holes;
    size_t hole_count, hole_capacity;
};

/* An item, or a whole message, that is parked. */
struct item {
    struct sc_parked parked; /* must be first */
    struct sc_task *task;
    size_t offset; /* in the message; of an item of a batch */
    size_t hole;
};

/* ---- Tasks ---- */

static bool is_batch(const struct sc_task *task)
{
    return (sc_op_kind(task->request.op) & SC_OP_MULTI) != 0;
}

static struct sc_task *take_task(struct sc_tasks *tasks, const struct sc_msg_request *request,
                                 const struct sc_sp_origin *origin, struct sc_slice body,
                                 uint64_t deadline_ms)
{
    struct sc_task *task = tasks->spare;
    tasks->spare = NULL;
    if (task == NULL) {
        task = sc_calloc(1, sizeof *task);
    }
    struct sc_buf reply = task->reply;
    *task = (struct sc_task){
        .tasks = tasks,
        .origin = *origin,
        .deadline_ms = deadline_ms,
        .body = body,
        .request = *request,
        .reply = reply,
    };
    if (!is_batch(task)) {
        task->request.item_count = 0;
    }
    return task;
}

static void free_task(struct sc_task *task)
{
    if (task != NULL) {
        for (size_t i = 0; i < task->hole_count; i++) {
            sc_buf_fini(&task->holes[i].bytes);
        }
        free(task->holes);
        free(task->copy);
        sc_buf_fini(&task->reply);
        free(task);
    }
}

static void give_back_task(struct sc_task *task)
{
    struct sc_tasks *tasks = task->tasks;
    if (tasks->spare != NULL || task->copy != NULL) {
        free_task(task);
    } else {
        sc_buf_reset(&task->reply, SCRATCH_KEEP);
        tasks->spare = task;
    }
}

/* Makes a copy of the message, which is only valid during the call that brought it. */
static void keep(struct sc_task *task)
{
    if (task->copy != NULL) {
        return;
    }
    const uint8_t *body = task->body.data;
    task->copy = sc_alloc(task->body.size);
    memcpy(task->copy, body, task->body.size);
    task->body.data = task->copy;
    if (is_batch(task)) {
        struct sc_mp *items = &task->request.items;
        items->at = task->copy + (items->at - body);
        items->end = task->copy + (items->end - body);
    }
}

/* What is held of the reply counts for the connection that waits for it. */
static void charge(struct sc_task *task)
{
    size_t held = task->reply.size + task->promised;
    if (held > task->charged) {
        sc_sp_charge(&task->origin, held - task->charged);
        task->charged = held;
    }
}

/* Puts the reply together and sends it. */
static void finish(struct sc_task *task)
{
    struct sc_buf *whole = &task->tasks->scratch;
    struct sc_slice body = sc_buf_slice(&task->reply);
    size_t done = 0;
    for (size_t i = 0; i < task->hole_count; i++) {
        const struct hole *hole = &task->holes[i];
        sc_buf_append(whole, task->reply.data + done, hole->at - done);
        sc_buf_append_slice(whole, sc_buf_slice(&hole->bytes));
        done = hole->at;
    }
    if (task->hole_count > 0) {
        sc_buf_append(whole, task->reply.data + done, task->reply.size - done);
        body = sc_buf_slice(whole);
    }
    sc_outbox_send(task->tasks->outbox, &task->origin, body, task->charged, task->position, 0);
    sc_buf_reset(whole, SCRATCH_KEEP);
    give_back_task(task);
}

/* ---- One operation ---- */

static sc_bitcask_position later(sc_bitcask_position a, sc_bitcask_position b)
{
    return a > b ? a : b;
}

/* Carries out a single-key request, alone or in a batch. False: it wants something fetched. */
static bool execute(const struct sc_tasks *tasks, const struct sc_msg_request *request,
                    uint64_t hash, struct sc_fetch *fetch, struct sc_buf *reply,
                    sc_bitcask_position *position)
{
    uint32_t slot = sc_slot_of_hash(hash);
    if (!sc_membership_serves(tasks->membership, slot)) {
        sc_membership_refuse(tasks->membership, slot, reply);
        return true;
    }
    return sc_ops_execute(tasks->store, request, hash, fetch, reply, position);
}

/* The same for one that has just come. False: it has to be parked. */
static bool try_now(const struct sc_tasks *tasks, const struct sc_msg_request *request,
                    uint64_t hash, struct sc_fetch *fetch, struct sc_buf *reply,
                    sc_bitcask_position *position)
{
    return !sc_parking_holds(&tasks->parking, hash) &&
           execute(tasks, request, hash, fetch, reply, position);
}

static void refuse_parking(struct sc_buf *reply)
{
    sc_msg_reply_status(reply, SC_BUSY, "too much waits for the disk: try again later");
}

/* ---- What is parked ---- */

static bool is_late(const struct sc_task *task)
{
    return task->deadline_ms != UINT64_MAX && sc_clock_mono_ms() > task->deadline_ms;
}

/* Whether a value fits into the reply: room for an error is kept for every item to come, so that no
 * write is carried out whose reply would not fit. */
static bool has_room(const struct sc_task *task, size_t more)
{
    uint64_t to_come = task->request.item_count - task->next;
    return task->reply.size + task->promised + more + to_come * ITEM_ERROR_MAX <=
           task->tasks->message_max;
}

/* x.join and x.peek: nobody has asked for this batch as such, and what has no room is sent back. */
static bool is_joined(const struct sc_task *task)
{
    return task->request.op == SC_OP_X_JOIN || task->request.op == SC_OP_X_PEEK;
}

static void refuse_value(const struct sc_task *task, struct sc_buf *reply)
{
    if (is_joined(task)) {
        sc_msg_reply_status(reply, SC_BUSY, "the value has grown meanwhile: try again");
    } else {
        sc_msg_reply_status(reply, SC_TOOLARGE, "the reply has no room left for this value");
    }
}

/* Parses what is parked once more, from the copy of the message. */
static void parse_item(const struct item *item, struct sc_msg_request *request)
{
    const struct sc_task *task = item->task;
    char why[SC_WHY_SIZE];
    enum sc_status status;
    if (is_batch(task)) {
        struct sc_msg_request batch = task->request;
        batch.items.at = task->copy + item->offset;
        status = sc_msg_next_item(&batch, task->tasks->limits, request, why);
    } else {
        status = sc_msg_parse_request(task->body, task->tasks->limits, request, why);
    }
    assert(status == SC_OK);
}

static struct sc_fetch *fetch_of(struct item *item)
{
    return item->parked.rounds < SC_PARKING_ROUNDS_MAX ? &item->parked.job.fetch : NULL;
}

/* Carries out an item in its hole. */
static bool fill(struct item *item)
{
    struct sc_task *task = item->task;
    struct hole *hole = &task->holes[item->hole];
    struct sc_msg_request request;
    if (task->late) {
        sc_msg_reply_status(&hole->bytes, SC_UNAVAILABLE, "the disk took too long");
    } else {
        sc_bitcask_position position = 0;
        parse_item(item, &request);
        if (!execute(task->tasks, &request, item->parked.hash, fetch_of(item), &hole->bytes,
                     &position)) {
            return false;
        }
        task->position = later(task->position, position);
        if (is_batch(task) && request.op == SC_OP_GET && hole->bytes.size > hole->expected &&
            !has_room(task, hole->bytes.size - hole->expected)) {
            hole->bytes.size = 0;
            refuse_value(task, &hole->bytes);
        }
    }
    task->promised = task->promised - hole->expected + hole->bytes.size;
    hole->expected = hole->bytes.size;
    return true;
}

static void advance(struct sc_task *task);

static bool resume_item(struct sc_parked *parked)
{
    struct item *item = (struct item *)parked;
    struct sc_task *task = item->task;
    task->late = task->late || is_late(task);
    if (!fill(item)) {
        return false;
    }
    task->waiting--;
    advance(task);
    return true;
}

static bool resume_scan(struct sc_parked *parked)
{
    struct item *item = (struct item *)parked;
    struct sc_task *task = item->task;
    struct sc_tasks *tasks = task->tasks;
    struct sc_msg_request request;
    parse_item(item, &request);
    if (!sc_page_execute(tasks->store, tasks->membership, &request, fetch_of(item), &task->reply,
                         &task->position)) {
        return false;
    }
    task->waiting--;
    advance(task);
    return true;
}

/* Takes the fetch. */
static void park(struct sc_task *task, struct item *item, struct sc_fetch *fetch)
{
    keep(task);
    item->task = task;
    item->parked.job.fetch = *fetch;
    task->waiting++;
    sc_parking_enter(&task->tasks->parking, &item->parked);
}

static void park_item(struct sc_task *task, size_t offset, uint64_t hash, size_t expected,
                      struct sc_fetch *fetch)
{
    if (task->hole_count == task->hole_capacity) {
        task->hole_capacity = task->hole_capacity == 0 ? 4 : task->hole_capacity * 2;
        task->holes = sc_realloc(task->holes, task->hole_capacity * sizeof *task->holes);
    }
    task->holes[task->hole_count] = (struct hole){.at = task->reply.size, .expected = expected};
    task->promised += expected;
    struct item *item = sc_calloc(1, sizeof *item);
    item->parked.hash = hash;
    item->parked.resume = resume_item;
    item->offset = offset;
    item->hole = task->hole_count++;
    park(task, item, fetch);
}

/* ---- Looking ahead ---- */

static bool resume_nothing(struct sc_parked *parked)
{
    (void)parked;
    return true;
}

/* Sends back an item of an x.peek; it is going to be sent again. Meanwhile its record is brought
 * into memory, and as long as that takes its key is held, so that what is behind it on the same key
 * is sent back as well. Takes the fetch. */
static void send_back_cold(struct sc_task *task, uint64_t hash, struct sc_fetch *fetch)
{
    static const uint8_t cold[] = {0x91, SC_MSG_COLD};
    struct sc_parking *parking = &task->tasks->parking;
    sc_buf_append(&task->reply, cold, sizeof cold);
    if (!sc_fetch_wants(fetch)) {
        return; /* its key is held already */
    }
    if (sc_parking_is_full(parking)) {
        task->cold = true;
        sc_fetch_fini(fetch);
        return;
    }
    struct sc_parked *ahead = sc_calloc(1, sizeof *ahead);
    ahead->hash = hash;
    ahead->resume = resume_nothing;
    ahead->job.fetch = *fetch;
    sc_parking_enter(parking, ahead);
}

/* ---- Batches ---- */

static size_t expected_size(const struct sc_tasks *tasks, const struct sc_msg_request *item,
                            uint64_t hash)
{
    uint64_t size = 0;
    if (item->op == SC_OP_GET) {
        size = sc_bitcask_value_bound(tasks->store, item->key, hash) + VALUE_HEAD_MAX;
    }
    return size > ITEM_ERROR_MAX ? (size_t)size : ITEM_ERROR_MAX;
}

/* An item that was read from the message and not begun yet. */
struct coming {
    struct sc_msg_request request;
    enum sc_status status; /* not SC_OK: cannot be begun */
    uint64_t hash;
    size_t offset, end; /* in the message */
};

/* The next items of a batch, which are read together so that what they need of the keydir and of
 * values comes into the processor's cache while others are carried out. */
struct ahead {
    struct coming items[AHEAD];
    uint32_t count, next;
};

static void look_ahead(const struct sc_task *task, struct ahead *ahead)
{
    const uint8_t *body = task->body.data;
    struct sc_msg_request batch = task->request;
    uint32_t left = batch.item_count - task->next;
    uint64_t hashes[AHEAD];
    size_t count = 0;
    bool values = false;
    char why[SC_WHY_SIZE];
    ahead->next = 0;
    ahead->count = left < AHEAD ? left : AHEAD;
    for (uint32_t i = 0; i < ahead->count; i++) {
        struct coming *item = &ahead->items[i];
        item->offset = (size_t)(batch.items.at - body);
        item->status = sc_msg_next_item(&batch, task->tasks->limits, &item->request, why);
        item->end = (size_t)(batch.items.at - body);
        if (item->status == SC_OK) {
            item->hash = sc_slot_hash(item->request.key);
            hashes[count++] = item->hash;
            values = values || item->request.op == SC_OP_GET;
        }
    }
    if (count > 1) {
        sc_bitcask_prefetch(task->tasks->store, hashes, count, values);
    }
}

static void begin_parsed(struct sc_task *task, const struct sc_msg_request *item, uint64_t hash,
                         size_t offset)
{
    struct sc_tasks *tasks = task->tasks;
    bool sized = item->op == SC_OP_GET && !is_joined(task);
    size_t start = task->reply.size;
    struct sc_fetch fetch = {0};
    sc_bitcask_position position = 0;
    if (!task->cold && try_now(tasks, item, hash, &fetch, &task->reply, &position)) {
        if (sized && !has_room(task, 0)) {
            task->reply.size = start;
            refuse_value(task, &task->reply);
        }
        task->position = later(task->position, position);
        return;
    }
    if (task->request.op == SC_OP_X_PEEK) {
        send_back_cold(task, hash, &fetch);
        return;
    }
    size_t expected = expected_size(tasks, item, hash);
    if (sized && !has_room(task, expected)) {
        refuse_value(task, &task->reply);
        sc_fetch_fini(&fetch);
    } else if (sc_parking_is_full(&tasks->parking)) {
        refuse_parking(&task->reply);
        sc_fetch_fini(&fetch);
    } else {
        park_item(task, offset, hash, expected, &fetch);
    }
}

/* What is wrong with an item, once more and in words. */
static void refuse_item(struct sc_task *task)
{
    struct sc_msg_request batch = task->request;
    struct sc_msg_request item;
    char why[SC_WHY_SIZE];
    enum sc_status status = sc_msg_next_item(&batch, task->tasks->limits, &item, why);
    sc_msg_reply_status(&task->reply, status, why);
}

static void begin_item(struct sc_task *task, struct ahead *ahead)
{
    if (ahead->next == ahead->count) {
        look_ahead(task, ahead);
    }
    assert(ahead->next < ahead->count); /* the caller has seen that there are items */
    const struct coming *item = &ahead->items[ahead->next++];
    task->next++;
    if (item->status != SC_OK) {
        refuse_item(task);
    } else if (task->late) {
        sc_msg_reply_status(&task->reply, SC_UNAVAILABLE, "the disk took too long");
    } else {
        begin_parsed(task, &item->request, item->hash, item->offset);
    }
    task->request.items.at = (const uint8_t *)task->body.data + item->end;
}

/* Whether what comes now is sent back: the reply has become large, or nothing more can be parked.
 */
static bool is_over(const struct sc_task *task)
{
    return is_joined(task) &&
           (task->reply.size + task->promised > JOIN_REPLY_SOFT_MAX ||
            (task->request.op == SC_OP_X_JOIN && sc_parking_is_full(&task->tasks->parking)));
}

/* Whether to wait for items that are parked before others are begun. */
static bool must_wait(const struct sc_task *task)
{
    return task->waiting >= SC_TASK_WAITING_MAX ||
           (task->waiting > 0 && sc_parking_is_full(&task->tasks->parking));
}

/* Begins what can be begun; answers when all has been carried out. */
static void advance(struct sc_task *task)
{
    static const uint8_t again[] = {0x91, SC_MSG_AGAIN};
    struct ahead ahead;
    ahead.count = ahead.next = 0;
    while (task->next < task->request.item_count) {
        task->again = task->again || is_over(task);
        if (task->again) {
            sc_buf_append(&task->reply, again, sizeof again);
            task->next++;
        } else if (must_wait(task)) {
            break;
        } else {
            begin_item(task, &ahead);
        }
    }
    if (task->waiting == 0) {
        finish(task);
    } else {
        charge(task);
    }
}

/* ---- Whatever comes ---- */

static void run_single(struct sc_tasks *tasks, const struct sc_msg_request *request,
                       const struct sc_sp_origin *origin, struct sc_slice body,
                       uint64_t deadline_ms)
{
    struct sc_buf *reply = &tasks->scratch;
    struct sc_fetch fetch = {0};
    sc_bitcask_position position = 0;
    uint64_t hash = sc_slot_hash(request->key);
    bool done = try_now(tasks, request, hash, &fetch, reply, &position);
    if (!done && sc_parking_is_full(&tasks->parking)) {
        refuse_parking(reply);
        sc_fetch_fini(&fetch);
        done = true;
    }
    if (done) {
        sc_outbox_send(tasks->outbox, origin, sc_buf_slice(reply), 0, position, 0);
        sc_buf_reset(reply, SCRATCH_KEEP);
        return;
    }
    struct sc_task *task = take_task(tasks, request, origin, body, deadline_ms);
    park_item(task, 0, hash, expected_size(tasks, request, hash), &fetch);
    charge(task);
}

static void run_batch(struct sc_tasks *tasks, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin, struct sc_slice body, uint64_t deadline_ms)
{
    struct sc_task *task = take_task(tasks, request, origin, body, deadline_ms);
    sc_mp_put_array(&task->reply, 2);
    sc_mp_put_uint(&task->reply, SC_OK);
    sc_mp_put_array(&task->reply, request->item_count);
    advance(task);
}

static void run_scan(struct sc_tasks *tasks, const struct sc_msg_request *request,
                     const struct sc_sp_origin *origin, struct sc_slice body, uint64_t deadline_ms)
{
    struct sc_task *task = take_task(tasks, request, origin, body, deadline_ms);
    struct sc_fetch fetch = {0};
    bool full = sc_parking_is_full(&tasks->parking);
    bool done = sc_page_execute(tasks->store, tasks->membership, request, &fetch, &task->reply,
                                &task->position);
    if (!done && full) {
        refuse_parking(&task->reply);
        sc_fetch_fini(&fetch);
        done = true;
    }
    if (done) {
        finish(task);
        return;
    }
    struct item *item = sc_calloc(1, sizeof *item);
    item->parked.is_keyless = true;
    item->parked.resume = resume_scan;
    park(task, item, &fetch);
}

bool sc_tasks_takes(enum sc_op op)
{
    return (sc_op_kind(op) & (SC_OP_SINGLE | SC_OP_MULTI)) != 0 || op == SC_OP_SCAN ||
           op == SC_OP_X_SCAN;
}

void sc_tasks_run(struct sc_tasks *tasks, const struct sc_msg_request *request,
                  const struct sc_sp_origin *origin, struct sc_slice body, uint64_t deadline_ms)
{
    unsigned kind = sc_op_kind(request->op);
    if ((kind & SC_OP_SINGLE) != 0) {
        run_single(tasks, request, origin, body, deadline_ms);
    } else if ((kind & SC_OP_MULTI) != 0) {
        run_batch(tasks, request, origin, body, deadline_ms);
    } else {
        run_scan(tasks, request, origin, body, deadline_ms);
    }
}

enum sc_status sc_tasks_start(struct sc_tasks *tasks, struct sc_sp_hub *hub, char *why)
{
    return sc_parking_start(&tasks->parking, hub, why);
}

void sc_tasks_stop(struct sc_tasks *tasks)
{
    sc_parking_stop(&tasks->parking);
    free_task(tasks->spare);
    tasks->spare = NULL;
    sc_buf_fini(&tasks->scratch);
}

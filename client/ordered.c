#include "client/ordered.h"

#include "client/async.h"
#include "client/direct.h"
#include "client/handle.h"
#include "client/operation.h"
#include "common/clock.h"

#include <assert.h>
#include <stdlib.h>

void sc_ordered_init(struct sc_ordered *ordered, struct shardcask *handle)
{
    *ordered = (struct sc_ordered){.handle = handle};
    sc_intake_init(&ordered->intake);
}

void sc_ordered_fini(struct sc_ordered *ordered)
{
    assert(ordered->intake.queue == NULL && ordered->under_way == 0);
    assert(ordered->parked.count == 0 && ordered->refused.count == 0);
    free(ordered->parked.jobs);
    free(ordered->refused.jobs);
}

static void append(struct sc_ordered_list *list, struct sc_job *job)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->jobs = sc_realloc(list->jobs, list->capacity * sizeof(struct sc_job *));
    }
    list->jobs[list->count++] = job;
}

/* ---- Parking ---- */

static uint32_t slot_of(const struct sc_job *job)
{
    return sc_slot_of_key(sc_slice(job->ops->key, job->ops->key_size));
}

static bool has(const uint8_t *slots, const struct sc_job *job)
{
    uint32_t slot = slot_of(job);
    return (slots[slot / 8] >> (slot % 8) & 1) != 0;
}

static void mark(struct sc_ordered *ordered, const struct sc_job *job)
{
    uint32_t slot = slot_of(job);
    uint8_t *byte = &ordered->parked_slots[slot / 8];
    *byte = (uint8_t)(*byte | 1u << (slot % 8));
}

static void park(struct sc_ordered *ordered, struct sc_job *job)
{
    append(&ordered->parked, job);
    mark(ordered, job);
}

static void mark_all(struct sc_ordered *ordered)
{
    const struct sc_ordered_list *parked = &ordered->parked;
    memset(ordered->parked_slots, 0, sizeof ordered->parked_slots);
    for (size_t i = 0; i < parked->count; i++) {
        mark(ordered, parked->jobs[i]);
    }
}

/* Takes the first jobs away. */
static void unpark(struct sc_ordered *ordered, size_t count)
{
    struct sc_ordered_list *parked = &ordered->parked;
    parked->count -= count;
    for (size_t i = 0; i < parked->count; i++) {
        parked->jobs[i] = parked->jobs[i + count];
    }
    mark_all(ordered);
}

/* What was refused in the last round is older than what is parked of the same slots. */
static void park_refused(struct sc_ordered *ordered)
{
    struct sc_ordered_list later = ordered->parked;
    uint64_t now_ms = sc_clock_mono_ms();
    if (later.count == 0) {
        sc_course_init(&ordered->course, ordered->handle);
    }
    ordered->parked = (struct sc_ordered_list){0};
    for (size_t i = 0; i < ordered->refused.count; i++) {
        struct sc_job *job = ordered->refused.jobs[i];
        if (now_ms < job->deadline_ms && sc_redo_again(&ordered->redo, job->ops)) {
            park(ordered, job);
        } else {
            sc_course_give_up(job->ops);
            sc_async_ended(job);
        }
    }
    ordered->refused.count = 0;
    for (size_t i = 0; i < later.count; i++) {
        park(ordered, later.jobs[i]);
    }
    free(later.jobs);
    ordered->resume_ms = now_ms + sc_course_pause_ms(&ordered->course);
}

/* ---- Rounds ---- */

/* An operation of the round has ended; those on one slot do so in order. */
static void end_one(struct sc_ordered *ordered, struct sc_job *job, bool refused)
{
    assert(ordered->under_way > 0);
    ordered->under_way--;
    ordered->stirred = true;
    if (sc_redo_note(&ordered->redo, job->ops, refused)) {
        append(&ordered->refused, job);
    } else {
        sc_async_ended(job);
    }
}

static void job_ended(struct sc_job *job)
{
    struct sc_peer *peer = job->peer;
    struct sc_ordered *ordered = &peer->handle->ordered;
    if (job->moved_epoch != 0) {
        sc_direct_moved(peer->handle->direct, peer, job->moved_epoch);
    }
    end_one(ordered, job, sc_course_refused(job, job->ops->status));
}

static void send_one(struct sc_ordered *ordered, const struct sc_course *course, struct sc_job *job)
{
    struct shardcask_op *op = job->ops;
    struct sc_peer *peer = sc_course_peer(course, sc_slice(op->key, op->key_size));
    ordered->under_way++;
    sc_operation_begin(op);
    if (peer == NULL) {
        sc_course_unreachable(op);
        end_one(ordered, job, true);
        return;
    }
    job->peer = peer;
    job->ended = job_ended;
    job->left = 1;
    job->away = 0;
    job->next_op = 0;
    job->status = SC_OK;
    job->unsent = false;
    job->moved_epoch = 0;
    sc_peer_push(peer, SC_LANE_ORDERED, job);
}

/* A round is to fit into one message, wherever it goes. */
struct load {
    size_t count;
    size_t bytes;
};

static bool has_room(const struct sc_ordered *ordered, const struct load *load,
                     const struct sc_job *job)
{
    const struct shardcask *handle = ordered->handle;
    return load->count == 0 || (load->count < handle->join_max &&
                                load->bytes + sc_operation_size(job->ops) <= handle->join_bytes);
}

static void count_in(struct load *load, const struct sc_job *job)
{
    load->count++;
    load->bytes += sc_operation_size(job->ops);
}

static bool may_resume(const struct sc_ordered *ordered)
{
    return ordered->parked.count > 0 && sc_clock_mono_ms() >= ordered->resume_ms;
}

/* Sends what is parked, as far as there is room. */
static void resume(struct sc_ordered *ordered, struct load *load)
{
    const struct sc_ordered_list *parked = &ordered->parked;
    size_t taken = 0;
    sc_course_advance(&ordered->course);
    while (taken < parked->count && has_room(ordered, load, parked->jobs[taken])) {
        count_in(load, parked->jobs[taken]);
        send_one(ordered, &ordered->course, parked->jobs[taken++]);
    }
    unpark(ordered, taken);
}

/* What comes behind parked operations on its slot goes their way. */
static void begin_round(struct sc_ordered *ordered)
{
    struct sc_intake *intake = &ordered->intake;
    uint8_t resumed[SC_SLOT_COUNT / 8] = {0};
    struct sc_course course;
    struct load load = {0};
    sc_course_init(&course, ordered->handle);
    sc_redo_init(&ordered->redo);
    if (may_resume(ordered)) {
        memcpy(resumed, ordered->parked_slots, sizeof resumed);
        resume(ordered, &load);
    }
    while (intake->queue != NULL && has_room(ordered, &load, intake->queue)) {
        struct sc_job *job = intake->queue;
        sc_intake_pop(intake);
        if (has(ordered->parked_slots, job)) {
            park(ordered, job);
        } else {
            count_in(&load, job);
            send_one(ordered, has(resumed, job) ? &ordered->course : &course, job);
        }
    }
}

void sc_ordered_pump(struct sc_ordered *ordered)
{
    do {
        ordered->stirred = false;
        sc_intake_take(&ordered->intake);
        while (ordered->under_way == 0 && (ordered->refused.count > 0 || may_resume(ordered) ||
                                           ordered->intake.queue != NULL)) {
            if (ordered->refused.count > 0) {
                park_refused(ordered);
            } else {
                begin_round(ordered);
            }
        }
    } while (sc_intake_rest(&ordered->intake, ordered->under_way == 0));
}

/* ---- Time-outs and the end ---- */

static void end_queue(struct sc_ordered *ordered, uint64_t now_ms, const char *why)
{
    struct sc_intake *intake = &ordered->intake;
    while (intake->queue != NULL && now_ms >= intake->queue->deadline_ms) {
        struct sc_job *job = intake->queue;
        sc_intake_pop(intake);
        sc_operation_fail(job->ops, SC_UNAVAILABLE, sc_slice_str(why));
        sc_async_ended(job);
    }
}

/* Those that were never sent since have no status yet. */
static void end_parked(struct sc_ordered *ordered, uint64_t now_ms, const char *why)
{
    struct sc_ordered_list *parked = &ordered->parked;
    size_t kept = 0;
    for (size_t i = 0; i < parked->count; i++) {
        struct sc_job *job = parked->jobs[i];
        if (now_ms < job->deadline_ms) {
            parked->jobs[kept++] = job;
            continue;
        }
        if (job->ops->status == SC_OPERATION_PENDING) {
            sc_operation_fail(job->ops, SC_UNAVAILABLE, sc_slice_str(why));
        }
        sc_course_give_up(job->ops);
        sc_async_ended(job);
    }
    parked->count = kept;
    mark_all(ordered);
}

void sc_ordered_abandon(struct sc_ordered *ordered, const char *why)
{
    if (ordered->under_way == 0 && ordered->refused.count > 0) {
        park_refused(ordered);
    }
    end_parked(ordered, UINT64_MAX, why);
    do {
        ordered->stirred = false;
        sc_intake_take(&ordered->intake);
        end_queue(ordered, UINT64_MAX, why);
    } while (sc_intake_rest(&ordered->intake, true));
}

void sc_ordered_tick(struct sc_ordered *ordered, uint64_t now_ms)
{
    static const char late[] = "not sent before the time-out: too much is waiting";
    sc_intake_take(&ordered->intake);
    end_queue(ordered, now_ms, late);
    if (ordered->parked.count > 0) {
        end_parked(ordered, now_ms, late);
    }
    ordered->stirred = true;
}

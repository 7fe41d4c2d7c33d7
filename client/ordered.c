#include "client/ordered.h"

#include "client/async.h"
#include "client/direct.h"
#include "client/handle.h"
#include "client/operation.h"
#include "common/clock.h"

#include <assert.h>
#include <stdlib.h>

static const char nobody[] = "neither its shard nor the coordinator can be reached";

void sc_ordered_init(struct sc_ordered *ordered, struct shardcask *handle)
{
    *ordered = (struct sc_ordered){.handle = handle};
    sc_intake_init(&ordered->intake);
}

void sc_ordered_fini(struct sc_ordered *ordered)
{
    assert(ordered->intake.queue == NULL && ordered->held_count == 0 && ordered->under_way == 0);
    free(ordered->held);
}

void sc_ordered_submit(struct sc_ordered *ordered, struct sc_job *job)
{
    if (sc_intake_push(&ordered->intake, job)) {
        sc_sp_hub_lock(ordered->handle->hub);
        ordered->stirred = true;
        sc_sp_hub_unlock(ordered->handle->hub); /* pumps */
    }
}

/* ---- The end of operations ---- */

static void hold(struct sc_ordered *ordered, struct sc_job *job)
{
    if (ordered->held_count == ordered->held_capacity) {
        ordered->held_capacity = ordered->held_capacity == 0 ? 16 : ordered->held_capacity * 2;
        ordered->held = sc_realloc(ordered->held, ordered->held_capacity * sizeof(struct sc_job *));
    }
    ordered->held[ordered->held_count++] = job;
}

/* An operation of the attempt at hand has ended; those on one slot do so in order. */
static void end_one(struct sc_ordered *ordered, struct sc_job *job, bool refused)
{
    assert(ordered->under_way > 0);
    ordered->under_way--;
    ordered->stirred = true;
    if (sc_redo_note(&ordered->redo, job->ops, refused)) {
        hold(ordered, job);
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

/* ---- Attempts ---- */

static void send_one(struct sc_ordered *ordered, struct sc_job *job)
{
    struct shardcask_op *op = job->ops;
    struct sc_peer *peer = sc_course_peer(&ordered->course, sc_slice(op->key, op->key_size));
    if (peer == NULL) {
        sc_operation_fail(op, SC_UNAVAILABLE, sc_slice_str(nobody));
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

/* Makes another attempt with those that were refused. */
static void resume(struct sc_ordered *ordered, uint64_t now_ms)
{
    struct sc_redo redo = ordered->redo;
    struct sc_job **jobs = ordered->held;
    size_t count = ordered->held_count;
    ordered->held = NULL;
    ordered->held_count = ordered->held_capacity = 0;
    ordered->resume_ms = 0;
    ordered->under_way = count;
    sc_redo_init(&ordered->redo);
    sc_course_advance(&ordered->course);
    for (size_t i = 0; i < count; i++) {
        struct sc_job *job = jobs[i];
        if (now_ms < job->deadline_ms && sc_redo_again(&redo, job->ops)) {
            sc_operation_begin(job->ops);
            send_one(ordered, job);
        } else {
            sc_course_give_up(job->ops);
            ordered->under_way--;
            sc_async_ended(job);
        }
    }
    free(jobs);
}

/* Takes from the queue what fits into one message, wherever it goes. */
static void begin_round(struct sc_ordered *ordered)
{
    const struct shardcask *handle = ordered->handle;
    struct sc_intake *intake = &ordered->intake;
    size_t bytes = 0;
    size_t count = 0;
    sc_course_init(&ordered->course, ordered->handle);
    sc_redo_init(&ordered->redo);
    while (intake->queue != NULL && count < handle->join_max) {
        struct sc_job *job = intake->queue;
        bytes += sc_operation_size(job->ops);
        if (count > 0 && bytes > handle->join_bytes) {
            break;
        }
        sc_intake_pop(intake);
        count++;
        ordered->under_way++;
        send_one(ordered, job);
    }
}

/* What was refused is sent again at once, or by a tick. */
static void end_attempt(struct sc_ordered *ordered)
{
    uint32_t pause_ms = sc_course_pause_ms(&ordered->course);
    uint64_t now_ms = sc_clock_mono_ms();
    if (pause_ms == 0) {
        resume(ordered, now_ms);
    } else {
        ordered->resume_ms = now_ms + pause_ms;
    }
}

static bool is_busy(const struct sc_ordered *ordered)
{
    return ordered->under_way > 0 || ordered->resume_ms != 0;
}

void sc_ordered_pump(struct sc_ordered *ordered)
{
    do {
        ordered->stirred = false;
        sc_intake_take(&ordered->intake);
        while (!is_busy(ordered) && (ordered->held_count > 0 || ordered->intake.queue != NULL)) {
            if (ordered->held_count > 0) {
                end_attempt(ordered);
            } else {
                begin_round(ordered);
            }
        }
    } while (sc_intake_rest(&ordered->intake, !is_busy(ordered)));
}

/* ---- Time-outs and the end ---- */

/* Ends what waits for its round and has run out of time. */
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

void sc_ordered_abandon(struct sc_ordered *ordered, const char *why)
{
    for (size_t i = 0; i < ordered->held_count; i++) {
        sc_course_give_up(ordered->held[i]->ops);
        sc_async_ended(ordered->held[i]);
    }
    ordered->held_count = 0;
    ordered->resume_ms = 0;
    do {
        ordered->stirred = false;
        sc_intake_take(&ordered->intake);
        end_queue(ordered, UINT64_MAX, why);
    } while (sc_intake_rest(&ordered->intake, true));
}

void sc_ordered_tick(struct sc_ordered *ordered, uint64_t now_ms)
{
    sc_intake_take(&ordered->intake);
    end_queue(ordered, now_ms, "not sent before the time-out: too much is waiting");
    if (ordered->resume_ms != 0 && now_ms >= ordered->resume_ms) {
        resume(ordered, now_ms);
    }
    ordered->stirred = true;
}

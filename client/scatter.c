#include "client/scatter.h"

#include "client/course.h"
#include "client/direct.h"
#include "client/handle.h"
#include "client/operation.h"
#include "client/redo.h"

#include <assert.h>
#include <stdlib.h>

/* What goes to one server in one attempt. */
struct part {
    struct sc_job job;
    bool writes;
    bool was_idle; /* the lane that it was pushed to */
};

struct scatter {
    struct shardcask *handle;
    struct shardcask_op *ops;
    struct sc_course course;
    size_t left; /* operations of the attempt at hand */
    uint32_t *indexes; /* which they are, in order */
    struct part *
        *places; /* and the part that each of them belongs to; NULL: nobody can be reached */
    uint32_t *order; /* the same operations, part by part */
    struct part *parts;
    size_t part_count;
    struct sc_redo redo;
    int failed; /* the status to return */
};

/* ---- One attempt ---- */

/* The part for a server; `by_number` has those that exist. */
static struct part *part_of(struct scatter *scatter, struct sc_peer *peer, struct part **by_number)
{
    struct part **place = &by_number[peer->number];
    if (*place == NULL) {
        *place = &scatter->parts[scatter->part_count++];
        **place = (struct part){.job = {.peer = peer}};
    }
    return *place;
}

/* Decides where each operation goes. */
static void choose_servers(struct scatter *scatter)
{
    /* The shards known now, and the coordinator; one that joins meanwhile has to wait. */
    size_t servers = 1 + (size_t)atomic_load(&scatter->handle->direct->member_count);
    struct part **by_number = sc_calloc(servers, sizeof(struct part *));
    scatter->parts = sc_calloc(servers, sizeof *scatter->parts);
    scatter->part_count = 0;
    for (size_t i = 0; i < scatter->left; i++) {
        const struct shardcask_op *op = &scatter->ops[scatter->indexes[i]];
        struct sc_peer *peer = sc_course_peer(&scatter->course, sc_slice(op->key, op->key_size));
        if (peer != NULL && peer->number >= servers) {
            peer = NULL;
        }
        struct part *part = peer != NULL ? part_of(scatter, peer, by_number) : NULL;
        scatter->places[i] = part;
        if (part != NULL) {
            part->job.count++;
            part->writes = part->writes || sc_operation_writes(op);
        }
    }
    free(by_number);
}

/* Gives every part its operations, in order. */
static void fill_parts(struct scatter *scatter, struct sc_job *whole)
{
    uint32_t *next = scatter->order;
    for (size_t i = 0; i < scatter->part_count; i++) {
        struct sc_job *job = &scatter->parts[i].job;
        size_t count = job->count;
        *job = (struct sc_job){
            .ops = scatter->ops,
            .order = next,
            .left = count,
            .deadline_ms = scatter->course.deadline_ms,
            .ended = sc_job_end_part,
            .peer = job->peer,
            .whole = whole,
        };
        next += count;
    }
    for (size_t i = 0; i < scatter->left; i++) {
        struct part *part = scatter->places[i];
        if (part != NULL) {
            scatter->order[part->job.order - scatter->order + (ptrdiff_t)part->job.count++] =
                scatter->indexes[i];
        }
    }
}

/* Sends, in one go, what does not join something that is on its way already. */
static void stir_parts(const struct scatter *scatter)
{
    struct sc_sp_hub *hub = scatter->handle->hub;
    bool any = false;
    for (size_t i = 0; i < scatter->part_count; i++) {
        if (scatter->parts[i].was_idle) {
            if (!any) {
                sc_sp_hub_lock(hub);
            }
            any = true;
            sc_peer_stir(scatter->parts[i].job.peer);
        }
    }
    if (any) {
        sc_sp_hub_unlock(hub); /* pumps */
    }
}

static void send_parts(struct scatter *scatter)
{
    struct sc_job whole = {.parts = scatter->part_count};
    fill_parts(scatter, &whole);
    if (scatter->part_count == 0) {
        return;
    }
    for (size_t i = 0; i < scatter->part_count; i++) {
        struct part *part = &scatter->parts[i];
        struct sc_lane *lane =
            &part->job.peer->lanes[part->writes ? SC_LANE_WRITES : SC_LANE_READS];
        part->was_idle = sc_lane_push(lane, &part->job);
    }
    stir_parts(scatter);
    sc_job_wait(&whole);
}

/* ---- After it ---- */

static bool is_refused(struct scatter *scatter, size_t i, struct shardcask_op *op)
{
    const struct part *part = scatter->places[i];
    if (part == NULL) {
        sc_course_unreachable(op);
        return true;
    }
    return sc_course_refused(&part->job, op->status);
}

/* Keeps the candidates for another attempt. */
static void sift(struct scatter *scatter)
{
    size_t kept = 0;
    sc_redo_init(&scatter->redo);
    for (size_t i = 0; i < scatter->left; i++) {
        uint32_t index = scatter->indexes[i];
        struct shardcask_op *op = &scatter->ops[index];
        if (sc_redo_note(&scatter->redo, op, is_refused(scatter, i, op))) {
            scatter->indexes[kept++] = index;
        }
    }
    scatter->left = kept;
}

static void note_parts(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->part_count; i++) {
        const struct part *part = &scatter->parts[i];
        if (part->job.moved_epoch != 0) {
            sc_handle_note_move(scatter->handle, part->job.peer, part->job.moved_epoch);
        }
        if (part->job.status != SC_OK && !sc_course_refused(&part->job, part->job.status)) {
            scatter->failed = part->job.status;
        }
    }
}

/* Begins the candidates anew, or gives them up. */
static void renew(struct scatter *scatter, bool time_left)
{
    size_t kept = 0;
    for (size_t i = 0; i < scatter->left; i++) {
        uint32_t index = scatter->indexes[i];
        struct shardcask_op *op = &scatter->ops[index];
        if (time_left && sc_redo_again(&scatter->redo, op)) {
            sc_operation_begin(op);
            scatter->indexes[kept++] = index;
        } else {
            sc_course_give_up(op);
        }
    }
    scatter->left = kept;
}

static void attempt(struct scatter *scatter)
{
    choose_servers(scatter);
    send_parts(scatter);
    sift(scatter);
    note_parts(scatter);
    free(scatter->parts);
    scatter->parts = NULL;
}

int sc_scatter_run(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    struct scatter scatter = {.handle = handle, .ops = ops};
    scatter.indexes = sc_calloc(count, sizeof *scatter.indexes);
    scatter.order = sc_calloc(count, sizeof *scatter.order);
    scatter.places = sc_calloc(count, sizeof(struct part *));
    for (size_t i = 0; i < count; i++) {
        if (ops[i].status == SC_OPERATION_PENDING) {
            scatter.indexes[scatter.left++] = (uint32_t)i;
        }
    }
    sc_course_init(&scatter.course, handle);
    while (scatter.left > 0) {
        attempt(&scatter);
        if (scatter.left > 0) {
            renew(&scatter, sc_course_wait(&scatter.course));
        }
    }
    free(scatter.places);
    free(scatter.order);
    free(scatter.indexes);
    return scatter.failed;
}

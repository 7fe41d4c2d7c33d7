#include "client/course.h"

#include "client/direct.h"
#include "client/handle.h"
#include "client/operation.h"
#include "common/clock.h"

#include <time.h>

#define PAUSE_MAX_MS 50u

void sc_course_init(struct sc_course *course, struct shardcask *handle)
{
    *course = (struct sc_course){
        .handle = handle,
        .deadline_ms = sc_clock_mono_ms() + handle->timeout_ms,
        .by_map = handle->direct != NULL,
    };
}

/* The coordinator is asked at once; who asks the same again waits a little, and then longer. */
uint32_t sc_course_pause_ms(const struct sc_course *course)
{
    unsigned repeats = course->attempts;
    if (repeats == 0 && sc_peer_usable(&course->handle->coordinator)) {
        return 0;
    }
    return repeats > 5 ? PAUSE_MAX_MS : 1u << repeats;
}

void sc_course_advance(struct sc_course *course)
{
    course->attempts++;
    course->by_map = !sc_peer_usable(&course->handle->coordinator);
}

bool sc_course_wait(struct sc_course *course)
{
    uint32_t pause_ms = sc_course_pause_ms(course);
    if (sc_clock_mono_ms() + pause_ms >= course->deadline_ms) {
        return false;
    }
    if (pause_ms > 0) {
        (void)nanosleep(&(struct timespec){0, (long)pause_ms * 1000000}, NULL);
    }
    sc_course_advance(course);
    return true;
}

struct sc_peer *sc_course_peer(const struct sc_course *course, struct sc_slice key)
{
    struct shardcask *handle = course->handle;
    struct sc_peer *shard = course->by_map ? sc_direct_route(handle->direct, key) : NULL;
    if (shard != NULL) {
        return shard;
    }
    /* Without a map there is nothing to try meanwhile: what has to wait waits there. */
    bool waits = handle->direct == NULL || sc_direct_epoch(handle->direct) == 0;
    return waits || sc_peer_usable(&handle->coordinator) ? &handle->coordinator : NULL;
}

bool sc_course_refused(const struct sc_job *job, int status)
{
    if (job->peer->number == 0) {
        return job->unsent && status == SC_UNAVAILABLE;
    }
    return status == SC_MOVED || status == SC_UNAVAILABLE || status == SC_BUSY;
}

void sc_course_unreachable(struct shardcask_op *op)
{
    static const char why[] = "neither its shard nor the coordinator can be reached";
    sc_operation_fail(op, SC_UNAVAILABLE, sc_slice_str(why));
}

void sc_course_give_up(struct shardcask_op *op)
{
    if (op->status == SC_MOVED) {
        op->status = SC_UNAVAILABLE;
    }
}

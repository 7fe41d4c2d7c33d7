/*
 * A course: the attempts that one call makes to get its operations done, each at some server.
 *
 * Through the coordinator there is one attempt, and its answer counts. A direct client first goes
 * by its map (client/direct.h). What a shard refuses, or what could not be sent to it, was
 * certainly not applied: it goes to the coordinator next. While the coordinator cannot be reached
 * either, the map is tried again and again, with pauses that grow, until the call runs out of time.
 */
#ifndef SC_CLIENT_COURSE_H
#define SC_CLIENT_COURSE_H

#include "client/peer.h"

/* Readable. */
struct sc_course {
    struct shardcask *handle;
    uint64_t deadline_ms;
    unsigned attempts; /* made */
    bool by_map; /* the attempt at hand goes by the map */
};

/* Begins with the first attempt. */
void sc_course_init(struct sc_course *course, struct shardcask *handle);

/* How long to wait before the next attempt. */
uint32_t sc_course_pause_ms(const struct sc_course *course);

/* The next attempt is at hand. */
void sc_course_advance(struct sc_course *course);

/* Waits, and advances. False when the time is over. Lock not held. */
bool sc_course_wait(struct sc_course *course);

/* Where operations on the key go in the attempt at hand; NULL: nobody can be reached. */
struct sc_peer *sc_course_peer(const struct sc_course *course, struct sc_slice key);

/* True when an operation that has ended with `status`, as part of a job that was sent to job->peer,
 * was certainly not applied and should be tried again. */
bool sc_course_refused(const struct sc_job *job, int status);

/* Ends an operation that sc_course_peer knows nobody for; it counts as refused. */
void sc_course_unreachable(struct shardcask_op *op);

/* What is left of an operation that was refused to the end: MOVED makes no sense to a caller. */
void sc_course_give_up(struct shardcask_op *op);

#endif

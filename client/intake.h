/*
 * An intake: where jobs are handed over by any thread, without a lock, and queue up for whoever
 * sends them.
 *
 *   any thread --push--> newcomers --take--> queue
 *
 * Everything is guarded by the hub's lock, but sc_intake_push and sc_intake_defer.
 */
#ifndef SC_CLIENT_INTAKE_H
#define SC_CLIENT_INTAKE_H

#include "client/job.h"

/* Readable: queue, with the lock held. */
struct sc_intake {
    /* Any thread. */
    _Atomic(struct sc_job *) newcomers; /* a stack */
    atomic_bool idle; /* nothing will look at the newcomers unless the one who pushes does */

    /* Lock held. */
    struct sc_job *queue; /* oldest first */
    struct sc_job *tail;
};

void sc_intake_init(struct sc_intake *intake);

/* Hands a job over; any thread. True when the caller must see to it that the queue is looked at. */
bool sc_intake_push(struct sc_intake *intake, struct sc_job *job);

/* Whoever must see to that will do so only later: until then, so must who pushes next. Any thread.
 */
void sc_intake_defer(struct sc_intake *intake);

/* Moves the newcomers behind the queue. */
void sc_intake_take(struct sc_intake *intake);

/* Takes the first job off the queue. */
void sc_intake_pop(struct sc_intake *intake);

/* Puts a job before all others. */
void sc_intake_put_back(struct sc_intake *intake, struct sc_job *job);

/* Says whether whoever pushes next has to have the queue looked at; the queue has been looked at.
 * True when that came too late for a newcomer: then it must be looked at again. */
bool sc_intake_rest(struct sc_intake *intake, bool idle);

#endif

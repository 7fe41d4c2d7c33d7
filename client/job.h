/*
 * A job: what one call of the library wants done at one server. It is a list of operations, or one
 * request as bytes (a scan's page, a count, ...), with one deadline and one who is told of its end:
 * the calling thread, whose stack the job lies on, the thread that calls back (client/async.h), or
 * another part of the library.
 *
 * A job belongs to its lane from sc_lane_push until its last operation has ended; the lane touches
 * neither the job nor its operations afterwards.
 */
#ifndef SC_CLIENT_JOB_H
#define SC_CLIENT_JOB_H

#include "client/shardcask.h"
#include "common/buf.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct sc_async;
struct sc_peer;

struct sc_job {
    /* Set by the caller, constant from then on. */
    struct shardcask_op *ops; /* all checked; NULL: a request as bytes */
    const uint32_t *order; /* which of them, one after the other; NULL: the first `count` */
    size_t count;
    struct sc_slice request; /* the body of a request ... */
    struct shardcask_value *reply; /* ... and where the body of its reply goes */
    bool repeatable; /* the request may be sent again when its connection has broken */
    uint64_t deadline_ms; /* by sc_clock_mono_ms */
    void (*ended)(struct sc_job *job); /* called once, with the hub's lock held */
    struct sc_peer *peer; /* where a direct client has sent it */
    struct sc_job *whole; /* that it is a part of, or NULL */
    struct sc_async *async; /* for sc_async_ended */
    shardcask_done *done; /* what is called back ... */
    shardcask_batch_done *batch_done; /* ... or, for a batch, this */
    void *arg; /* for it */

    /* The lane's, guarded by the hub's lock (`next` also links the stack of newcomers). */
    struct sc_job *next;
    size_t next_op; /* the first operation that was not yet sent */
    size_t away; /* operations sent, or to be sent again, and not ended */
    size_t left; /* operations that have not ended */

    /* The caller's once the job has ended. */
    int status; /* of the last message that failed as a whole; SC_OK: none did */
    char *why; /* of a request as bytes: the sentence for that, or NULL; the caller frees it */
    bool unsent; /* something was not sent: those operations are SC_UNAVAILABLE */
    uint64_t moved_epoch; /* the highest that an SC_MOVED came with; 0: there was none */

    /* RUNNING, WAITED for (a thread sleeps on it) or ENDED. */
    _Atomic uint32_t state;
    size_t parts; /* of a whole: jobs that have not ended; guarded by the hub's lock */

    /* Asynchronous jobs, guarded by the lock of sc_async: those not yet called back, in the order
     * they were submitted in. */
    TAILQ_ENTRY(sc_job) outstanding;
    uint64_t sequence;
};

/* Says that the job has ended and wakes who waits for it: the job may be gone when this returns. */
void sc_job_end(struct sc_job *job);

/* The same for one of the `parts` of job->whole, which ends with the last of them. Lock held. */
void sc_job_end_part(struct sc_job *job);

/* True when it has. Any thread. */
bool sc_job_has_ended(const struct sc_job *job);

/* Sleeps until the job has ended. */
void sc_job_wait(struct sc_job *job);

#endif

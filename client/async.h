/*
 * Calling back: the jobs that were submitted and not yet called back, and the thread that does it.
 *
 * Operations that have ended are gathered while the hub's lock is held, handed over together and
 * called back without any lock, so that a callback may take locks which its program also holds
 * while it calls the library.
 *
 * What callbacks submit is postponed: it is sent when all callbacks that were due have been called,
 * or after SC_ASYNC_POSTPONE_NS. Else the first of fifty callbacks would have its next operation
 * sent alone, and those of the others would wait for its reply.
 */
#ifndef SC_CLIENT_ASYNC_H
#define SC_CLIENT_ASYNC_H

#include "client/job.h"

#include <pthread.h>

TAILQ_HEAD(sc_job_list, sc_job);

/* Oldest first, linked by `next`. */
struct sc_job_queue {
    struct sc_job *first;
    struct sc_job *last; /* while there is a first */
};

/* How long what a callback submits waits for other callbacks. A callback that takes longer holds it
 * up until the next tick (SC_SP_TICK_MS) at most. */
#define SC_ASYNC_POSTPONE_NS UINT64_C(100000)

struct sc_async {
    struct shardcask *handle; /* constant */
    pthread_mutex_t lock;
    pthread_cond_t ended_some; /* `ended` is not empty any more, or `stop` */
    pthread_cond_t called_some; /* `outstanding` has become shorter */
    /* Guarded by `lock`. */
    struct sc_job_list outstanding; /* oldest first */
    size_t outstanding_count; /* operations in them */
    uint64_t sequence; /* of the last job submitted */
    struct sc_job_queue ended; /* to be called back */
    bool started; /* the thread runs */
    bool stop; /* nothing is taken any more; the thread ends when all has been called back */
    pthread_t thread;
    /* Guarded by the hub's lock. */
    struct sc_job_queue gathered; /* ended, and not handed over yet */
    /* The thread's own. */
    uint64_t postponed_ns; /* since when something waits to be sent; 0: nothing does */
};

void sc_async_init(struct sc_async *async, struct shardcask *handle);

/* Calls back what has ended, waits for the thread and frees all. Every job has ended. */
void sc_async_fini(struct sc_async *async);

/* From now on sc_async_submit takes nothing. */
void sc_async_stop(struct sc_async *async);

/* A job has ended, or a part of one, which ends with the last of them: it will be called back and
 * freed. The hub's lock is held, and sc_async_hand_over is called before it is let go. */
void sc_async_ended(struct sc_job *job);

/* Has the jobs that have ended called back. The hub's lock is held. */
void sc_async_hand_over(struct sc_async *async);

/* True when the calling thread is the one that calls back: then it sees to sending what was just
 * submitted. */
bool sc_async_postpone(struct sc_async *async);

#endif

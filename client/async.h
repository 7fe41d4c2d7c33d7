/*
 * Calling back: the jobs that were submitted and not yet called back, and the thread that does it.
 *
 * Operations that have ended are handed over under the hub's lock and called back without any, so
 * that a callback may take locks which its program also holds while it calls the library.
 */
#ifndef SC_CLIENT_ASYNC_H
#define SC_CLIENT_ASYNC_H

#include "client/job.h"

#include <pthread.h>

TAILQ_HEAD(sc_job_list, sc_job);

struct sc_async {
    pthread_mutex_t lock;
    pthread_cond_t ended_some; /* `ended` is not empty any more, or `stop` */
    pthread_cond_t called_some; /* `outstanding` has become shorter */
    /* Guarded by `lock`. */
    struct sc_job_list outstanding; /* oldest first */
    size_t outstanding_count;
    uint64_t sequence; /* of the last job submitted */
    struct sc_job *ended; /* oldest first, linked by `next` */
    struct sc_job *ended_tail;
    bool started; /* the thread runs */
    bool stop; /* nothing is taken any more; the thread ends when all has been called back */
    pthread_t thread;
};

void sc_async_init(struct sc_async *async);

/* Calls back what has ended, waits for the thread and frees all. Every job has ended. */
void sc_async_fini(struct sc_async *async);

/* From now on sc_async_submit takes nothing. */
void sc_async_stop(struct sc_async *async);

/* A job has ended: it will be called back and freed. Any thread, any lock. */
void sc_async_ended(struct sc_job *job);

#endif

#include "client/async.h"

#include "client/error.h"
#include "client/handle.h"
#include "client/operation.h"
#include "common/clock.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

/* Operations outstanding before shardcask_submit waits. */
#define OUTSTANDING_MAX 16384u

/* The one whose callbacks this thread calls. */
static _Thread_local const struct sc_async *calling;

void sc_async_init(struct sc_async *async, struct shardcask *handle)
{
    *async = (struct sc_async){.handle = handle};
    TAILQ_INIT(&async->outstanding);
    (void)pthread_mutex_init(&async->lock, NULL);
    (void)pthread_cond_init(&async->ended_some, NULL);
    (void)pthread_cond_init(&async->called_some, NULL);
}

/* ---- Jobs that have ended ---- */

/* Appends `more`, which is not empty. */
static void append(struct sc_job_queue *queue, const struct sc_job_queue *more)
{
    if (queue->first == NULL) {
        queue->first = more->first;
    } else {
        queue->last->next = more->first;
    }
    queue->last = more->last;
}

void sc_async_ended(struct sc_job *job)
{
    job->next = NULL;
    append(&job->async->gathered, &(struct sc_job_queue){job, job});
}

void sc_async_hand_over(struct sc_async *async)
{
    if (async->gathered.first == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&async->lock);
    append(&async->ended, &async->gathered);
    (void)pthread_mutex_unlock(&async->lock);
    async->gathered.first = NULL;
    (void)pthread_cond_signal(&async->ended_some);
}

/* ---- The thread that calls back ---- */

bool sc_async_postpone(struct sc_async *async)
{
    if (calling != async) {
        return false;
    }
    if (async->postponed_ns == 0) {
        async->postponed_ns = sc_clock_mono_ns();
    }
    return true;
}

static void send_postponed(struct sc_async *async)
{
    async->postponed_ns = 0;
    sc_handle_pump(async->handle);
}

static bool postponed_enough(const struct sc_async *async)
{
    return async->postponed_ns != 0 &&
           sc_clock_mono_ns() - async->postponed_ns >= SC_ASYNC_POSTPONE_NS;
}

/* Calls back a list of jobs. `op` is the caller's again as soon as its callback begins. */
static void call_back(struct sc_async *async, struct sc_job *jobs)
{
    for (struct sc_job *job = jobs; job != NULL; job = job->next) {
        job->done(job->ops);
        if (postponed_enough(async)) {
            send_postponed(async);
        }
    }
    if (async->postponed_ns != 0) {
        send_postponed(async);
    }
}

/* Frees jobs that were called back. */
static void retire_locked(struct sc_async *async, struct sc_job *jobs)
{
    while (jobs != NULL) {
        struct sc_job *job = jobs;
        jobs = job->next;
        TAILQ_REMOVE(&async->outstanding, job, outstanding);
        async->outstanding_count--;
        free(job);
    }
    (void)pthread_cond_broadcast(&async->called_some);
}

static void *caller(void *arg)
{
    struct sc_async *async = arg;
    calling = async;
    (void)pthread_mutex_lock(&async->lock);
    while (!async->stop || async->outstanding_count > 0) {
        if (async->ended.first == NULL) {
            (void)pthread_cond_wait(&async->ended_some, &async->lock);
            continue;
        }
        struct sc_job *jobs = async->ended.first;
        async->ended.first = NULL;
        (void)pthread_mutex_unlock(&async->lock);
        call_back(async, jobs);
        (void)pthread_mutex_lock(&async->lock);
        retire_locked(async, jobs);
    }
    (void)pthread_mutex_unlock(&async->lock);
    return NULL;
}

/* Starts the thread at the first use: most programs never submit anything. */
static enum sc_status start_locked(struct sc_async *async, char *why)
{
    if (async->started) {
        return SC_OK;
    }
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&async->thread, NULL, caller, async);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return sc_fail(why, SC_BUSY, "cannot start a thread: %s", strerror(error));
    }
    async->started = true;
    return SC_OK;
}

void sc_async_stop(struct sc_async *async)
{
    (void)pthread_mutex_lock(&async->lock);
    async->stop = true;
    (void)pthread_mutex_unlock(&async->lock);
    (void)pthread_cond_signal(&async->ended_some);
    (void)pthread_cond_broadcast(&async->called_some);
}

void sc_async_fini(struct sc_async *async)
{
    if (async->started) {
        (void)pthread_join(async->thread, NULL);
    }
    assert(async->outstanding_count == 0);
    (void)pthread_cond_destroy(&async->called_some);
    (void)pthread_cond_destroy(&async->ended_some);
    (void)pthread_mutex_destroy(&async->lock);
}

/* ---- Submitting ---- */

/* Counts a job as outstanding, after waiting for room. */
static enum sc_status admit(struct sc_async *async, struct sc_job *job, char *why)
{
    (void)pthread_mutex_lock(&async->lock);
    while (async->outstanding_count >= OUTSTANDING_MAX && calling != async && !async->stop) {
        (void)pthread_cond_wait(&async->called_some, &async->lock);
    }
    enum sc_status status = async->stop ? sc_fail(why, SC_UNAVAILABLE, "the handle is being closed")
                                        : start_locked(async, why);
    if (status == SC_OK) {
        job->sequence = ++async->sequence;
        TAILQ_INSERT_TAIL(&async->outstanding, job, outstanding);
        async->outstanding_count++;
    }
    (void)pthread_mutex_unlock(&async->lock);
    return status;
}

int shardcask_submit(struct shardcask *handle, struct shardcask_op *op, shardcask_done *done)
{
    enum sc_status status = sc_operation_check(op, handle->message_max, sc_error_room());
    if (status != SC_OK) {
        return status;
    }
    struct sc_job *job = sc_calloc(1, sizeof *job);
    job->ops = op;
    job->count = 1;
    job->left = 1;
    job->async = &handle->async;
    job->done = done;
    status = admit(&handle->async, job, sc_error_room());
    if (status != SC_OK) {
        free(job);
        return status;
    }
    sc_operation_begin(op);
    sc_handle_submit(handle, job);
    return SC_OK;
}

void shardcask_drain(struct shardcask *handle)
{
    struct sc_async *async = &handle->async;
    (void)pthread_mutex_lock(&async->lock);
    uint64_t last = async->sequence;
    while (!TAILQ_EMPTY(&async->outstanding) &&
           TAILQ_FIRST(&async->outstanding)->sequence <= last) {
        (void)pthread_cond_wait(&async->called_some, &async->lock);
    }
    (void)pthread_mutex_unlock(&async->lock);
}

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
    if (job->whole != NULL) {
        job = job->whole;
        if (--job->parts > 0) {
            return;
        }
    }
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
    (void)pthread_cond_signal(&async->ended_some); /* it is there while the thread needs the lock */
    (void)pthread_mutex_unlock(&async->lock);
    async->gathered.first = NULL;
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

/* The operations are the caller's again as soon as the callback begins. */
static void call_back_one(const struct sc_job *job)
{
    if (job->batch_done != NULL) {
        job->batch_done(job->ops, job->count, job->arg);
    } else {
        job->done(job->ops);
    }
}

static void call_back(struct sc_async *async, struct sc_job *jobs)
{
    for (struct sc_job *job = jobs; job != NULL; job = job->next) {
        call_back_one(job);
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
        async->outstanding_count -= job->count;
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
        async->outstanding_count += job->count;
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
    if (sc_handle_submit(handle, job)) {
        sc_handle_send(handle);
    }
    return SC_OK;
}

/* A batch, and for a direct client each of its operations, which go to servers of their own. */
struct batch {
    struct sc_job whole; /* first: it is freed as a job */
    struct sc_job parts[];
};

static struct batch *new_batch(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    size_t parts = handle->direct != NULL ? count : 0;
    struct batch *batch = sc_calloc(1, sizeof *batch + parts * sizeof batch->parts[0]);
    batch->whole.ops = ops;
    batch->whole.count = count;
    batch->whole.async = &handle->async;
    for (size_t i = 0; i < parts; i++) {
        batch->parts[i] = (struct sc_job){
            .ops = &ops[i], .count = 1, .left = 1, .async = &handle->async, .whole = &batch->whole};
    }
    return batch;
}

/* Nothing of the batch is to be sent: all its operations were bad. */
static void end_unsent(struct shardcask *handle, struct sc_job *job)
{
    sc_sp_hub_lock(handle->hub);
    sc_async_ended(job);
    sc_sp_hub_unlock(handle->hub); /* hands it over */
}

/* True when sc_handle_send must be called. The batch may be gone as soon as the last part has been
 * submitted. */
static bool submit_parts(struct shardcask *handle, struct batch *batch, size_t left)
{
    bool send = false;
    batch->whole.parts = left;
    for (struct sc_job *part = batch->parts; left > 0; part++) {
        if (part->ops->status == SC_OPERATION_PENDING) {
            left--;
            send = sc_handle_submit(handle, part) || send;
        }
    }
    return send;
}

int shardcask_submit_batch(struct shardcask *handle, struct shardcask_op *ops, size_t count,
                           shardcask_batch_done *done, void *arg)
{
    if (count == 0) {
        return sc_error_set(SC_BADREQUEST, "a batch without operations");
    }
    struct batch *batch = new_batch(handle, ops, count);
    batch->whole.batch_done = done;
    batch->whole.arg = arg;
    enum sc_status status = admit(&handle->async, &batch->whole, sc_error_room());
    if (status != SC_OK) {
        free(batch);
        return status;
    }
    size_t left = sc_operations_begin(ops, count, handle->message_max, NULL);
    batch->whole.left = left;
    if (left == 0) {
        end_unsent(handle, &batch->whole);
    } else if (handle->direct != NULL ? submit_parts(handle, batch, left)
                                      : sc_handle_submit(handle, &batch->whole)) {
        sc_handle_send(handle);
    }
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

#include "shard/fetcher.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct queue {
    struct sc_fetcher_job *first;
    struct sc_fetcher_job **end;
};

struct sc_fetcher {
    /* constant after start */
    struct sc_sp_hub *hub;
    void (*on_fetched)(void *arg, struct sc_fetcher_job *job);
    void *arg;

    /* guarded by `lock`, which is taken inside the hub's and never the other way round */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue waiting; /* jobs with pieces that have not been begun */
    struct queue fetched; /* jobs to be handed over */
    size_t bytes; /* of fetches begun and not handed over yet */
    unsigned idle; /* threads waiting for work */
    bool handing_over; /* a thread does */
    bool stopping;

    unsigned thread_count; /* of the thread that starts and stops */
    pthread_t threads[SC_FETCHER_THREADS];
};

/* ---- Queues ---- */

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct sc_fetcher_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static void queue_drop_first(struct queue *queue)
{
    queue->first = queue->first->next;
    if (queue->first == NULL) {
        queue->end = &queue->first;
    }
}

/* ---- With the fetcher's lock ---- */

static bool may_begin(const struct sc_fetcher *fetcher)
{
    const struct sc_fetcher_job *job = fetcher->waiting.first;
    return job != NULL && (job->begun > 0 || fetcher->bytes == 0 ||
                           fetcher->bytes + job->fetch.bytes <= SC_FETCHER_BYTES_MAX);
}

static struct sc_fetch_piece *begin_piece(struct sc_fetcher *fetcher, struct sc_fetcher_job **out)
{
    struct sc_fetcher_job *job = fetcher->waiting.first;
    struct sc_fetch *fetch = &job->fetch;
    fetcher->bytes += job->begun == 0 ? fetch->bytes : 0;
    struct sc_fetch_piece *piece = &fetch->pieces[fetch->read + job->begun++];
    if (fetch->read + job->begun == fetch->count) {
        queue_drop_first(&fetcher->waiting);
    }
    *out = job;
    return piece;
}

/* ---- Threads ---- */

/* Hands over what has been fetched until there is no more; meanwhile the other threads read on.
 * Releases the lock in between. */
static void hand_over(struct sc_fetcher *fetcher)
{
    fetcher->handing_over = true;
    while (fetcher->fetched.first != NULL) {
        struct sc_fetcher_job *job = fetcher->fetched.first;
        queue_init(&fetcher->fetched);
        size_t bytes = 0;
        pthread_mutex_unlock(&fetcher->lock);
        sc_sp_hub_lock(fetcher->hub);
        while (job != NULL) {
            struct sc_fetcher_job *next = job->next; /* the job may be gone behind the call */
            bytes += job->fetch.bytes;
            sc_fetch_done(&job->fetch);
            fetcher->on_fetched(fetcher->arg, job);
            job = next;
        }
        sc_sp_hub_unlock(fetcher->hub);
        pthread_mutex_lock(&fetcher->lock);
        fetcher->bytes -= bytes;
        if (fetcher->waiting.first != NULL || fetcher->stopping) {
            pthread_cond_broadcast(&fetcher->work); /* there is room for more */
        }
    }
    fetcher->handing_over = false;
}

static void work_once(struct sc_fetcher *fetcher)
{
    struct sc_fetcher_job *job;
    struct sc_fetch_piece *piece = begin_piece(fetcher, &job);
    pthread_mutex_unlock(&fetcher->lock);
    sc_fetch_read(piece);
    pthread_mutex_lock(&fetcher->lock);
    if (--job->left == 0) {
        queue_put(&fetcher->fetched, job);
        if (!fetcher->handing_over) {
            hand_over(fetcher);
        }
    }
}

static void *run(void *arg)
{
    struct sc_fetcher *fetcher = arg;
    pthread_mutex_lock(&fetcher->lock);
    for (;;) {
        if (may_begin(fetcher)) {
            work_once(fetcher);
        } else if (fetcher->stopping && fetcher->waiting.first == NULL && fetcher->bytes == 0) {
            break;
        } else {
            fetcher->idle++;
            pthread_cond_wait(&fetcher->work, &fetcher->lock);
            fetcher->idle--;
        }
    }
    pthread_mutex_unlock(&fetcher->lock);
    return NULL;
}

void sc_fetcher_submit(struct sc_fetcher *fetcher, struct sc_fetcher_job *job)
{
    size_t pieces = job->fetch.count - job->fetch.read;
    assert(pieces > 0);
    job->begun = 0;
    job->left = pieces;
    pthread_mutex_lock(&fetcher->lock);
    queue_put(&fetcher->waiting, job);
    for (size_t i = 0; i < pieces && i < fetcher->idle; i++) {
        pthread_cond_signal(&fetcher->work);
    }
    pthread_mutex_unlock(&fetcher->lock);
}

/* ---- Starting and stopping ---- */

enum sc_status sc_fetcher_start(struct sc_sp_hub *hub,
                                void (*on_fetched)(void *arg, struct sc_fetcher_job *job),
                                void *arg, struct sc_fetcher **out, char *why)
{
    struct sc_fetcher *fetcher = sc_calloc(1, sizeof *fetcher);
    fetcher->hub = hub;
    fetcher->on_fetched = on_fetched;
    fetcher->arg = arg;
    queue_init(&fetcher->waiting);
    queue_init(&fetcher->fetched);
    (void)pthread_mutex_init(&fetcher->lock, NULL);
    (void)pthread_cond_init(&fetcher->work, NULL);
    int error = 0;
    while (fetcher->thread_count < SC_FETCHER_THREADS && error == 0) {
        error = pthread_create(&fetcher->threads[fetcher->thread_count], NULL, run, fetcher);
        fetcher->thread_count += error == 0 ? 1 : 0;
    }
    if (error != 0) {
        sc_fetcher_stop(fetcher);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = fetcher;
    return SC_OK;
}

void sc_fetcher_stop(struct sc_fetcher *fetcher)
{
    if (fetcher == NULL) {
        return;
    }
    pthread_mutex_lock(&fetcher->lock);
    fetcher->stopping = true;
    pthread_cond_broadcast(&fetcher->work);
    pthread_mutex_unlock(&fetcher->lock);
    for (unsigned i = 0; i < fetcher->thread_count; i++) {
        (void)pthread_join(fetcher->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&fetcher->work);
    (void)pthread_mutex_destroy(&fetcher->lock);
    free(fetcher);
}

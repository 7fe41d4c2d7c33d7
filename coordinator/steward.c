#include "coordinator/steward.h"

#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

/* A change that waits, or is being written. */
struct job {
    STAILQ_ENTRY(job) next;
    struct sc_change change;
    sc_steward_done_fn *done;
    void *arg;
};

struct sc_steward {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_maplog *log; /* used by the thread only */
    void (*apply)(void *arg, const struct sc_change *change);
    void *apply_arg;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    STAILQ_HEAD(, job) jobs; /* oldest first */
};

void sc_steward_put(struct sc_steward *steward, const struct sc_change *change,
                    sc_steward_done_fn *done, void *arg)
{
    struct job *job = sc_calloc(1, sizeof *job);
    job->change = *change;
    job->done = done;
    job->arg = arg;
    STAILQ_INSERT_TAIL(&steward->jobs, job, next);
    (void)sem_post(&steward->wake);
}

static struct job *take(struct sc_steward *steward)
{
    sc_sp_hub_lock(steward->hub);
    struct job *job = STAILQ_FIRST(&steward->jobs);
    if (job != NULL) {
        STAILQ_REMOVE_HEAD(&steward->jobs, next);
    }
    sc_sp_hub_unlock(steward->hub);
    return job;
}

static void work(struct sc_steward *steward)
{
    struct job *job;
    char why[SC_WHY_SIZE];
    while (!atomic_load(&steward->stopping) && (job = take(steward)) != NULL) {
        why[0] = '\0';
        sc_maplog_number(steward->log, &job->change);
        enum sc_status status = sc_maplog_append(steward->log, &job->change, why);
        if (status != SC_OK) {
            sc_log_error("a change of the map could not be recorded: %s", why);
        }
        sc_sp_hub_lock(steward->hub);
        if (status == SC_OK) {
            steward->apply(steward->apply_arg, &job->change);
        }
        if (job->done != NULL) {
            job->done(job->arg, status, why);
        }
        sc_sp_hub_unlock(steward->hub);
        free(job);
    }
}

static void *run(void *arg)
{
    struct sc_steward *steward = arg;
    for (;;) {
        while (sem_wait(&steward->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&steward->stopping)) {
            return NULL;
        }
        work(steward);
    }
}

enum sc_status sc_steward_start(struct sc_sp_hub *hub, struct sc_maplog *log,
                                void (*apply)(void *arg, const struct sc_change *change),
                                void *apply_arg, struct sc_steward **out, char *why)
{
    struct sc_steward *steward = sc_calloc(1, sizeof *steward);
    steward->hub = hub;
    steward->log = log;
    steward->apply = apply;
    steward->apply_arg = apply_arg;
    STAILQ_INIT(&steward->jobs);
    (void)sem_init(&steward->wake, 0, 0);
    int error = pthread_create(&steward->thread, NULL, run, steward);
    if (error != 0) {
        (void)sem_destroy(&steward->wake);
        free(steward);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = steward;
    return SC_OK;
}

void sc_steward_stop(struct sc_steward *steward)
{
    if (steward == NULL) {
        return;
    }
    atomic_store(&steward->stopping, true);
    (void)sem_post(&steward->wake);
    (void)pthread_join(steward->thread, NULL);
    (void)sem_destroy(&steward->wake);
    while (!STAILQ_EMPTY(&steward->jobs)) {
        struct job *job = STAILQ_FIRST(&steward->jobs);
        STAILQ_REMOVE_HEAD(&steward->jobs, next);
        free(job);
    }
    free(steward);
}

#include "coordinator/steward.h"

#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

struct sc_steward {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_maplog *log; /* used by the thread only */
    void (*on_done)(void *arg, uint32_t shard_id);
    void *arg;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    uint32_t queue[SC_CLUSTER_SHARDS_MAX];
    size_t queued;
};

void sc_steward_put_adopted(struct sc_steward *steward, uint32_t shard_id)
{
    for (size_t i = 0; i < steward->queued; i++) {
        if (steward->queue[i] == shard_id) {
            return;
        }
    }
    if (steward->queued < SC_CLUSTER_SHARDS_MAX) {
        steward->queue[steward->queued++] = shard_id;
        (void)sem_post(&steward->wake);
    }
}

static bool take(struct sc_steward *steward, uint32_t *shard_id)
{
    sc_sp_hub_lock(steward->hub);
    bool any = steward->queued > 0;
    if (any) {
        *shard_id = steward->queue[--steward->queued];
    }
    sc_sp_hub_unlock(steward->hub);
    return any;
}

static void work(struct sc_steward *steward)
{
    uint32_t shard_id = 0;
    char why[SC_WHY_SIZE];
    while (take(steward, &shard_id)) {
        if (sc_maplog_put_adopted(steward->log, shard_id, why) != SC_OK) {
            sc_log_error("shard %u cannot be taken into use: %s", shard_id, why);
            continue;
        }
        sc_sp_hub_lock(steward->hub);
        steward->on_done(steward->arg, shard_id);
        sc_sp_hub_unlock(steward->hub);
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
                                void (*on_done)(void *arg, uint32_t shard_id), void *arg,
                                struct sc_steward **out, char *why)
{
    struct sc_steward *steward = sc_calloc(1, sizeof *steward);
    steward->hub = hub;
    steward->log = log;
    steward->on_done = on_done;
    steward->arg = arg;
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
    free(steward);
}

#include "shard/upkeep.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

/* All slots in about 3 seconds; a slot in which nothing can have expired costs a few nanoseconds.
 */
#define SWEEP_SLOTS_PER_TICK (SC_SLOT_COUNT / 64)

struct sc_upkeep {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    pthread_t thread;

    sem_t wake;
    atomic_bool stopping;

    bool working; /* guarded by the hub's lock: the thread has been woken and is not done */
};

void sc_upkeep_tick(struct sc_upkeep *upkeep)
{
    uint64_t number = 0;
    (void)sc_bitcask_sweep(upkeep->store, SWEEP_SLOTS_PER_TICK);
    if (!upkeep->working && sc_bitcask_hint_pending(upkeep->store, &number)) {
        upkeep->working = true;
        (void)sem_post(&upkeep->wake);
    }
}

/* Builds hints until none is missing. */
static void build_hints(struct sc_upkeep *upkeep)
{
    uint64_t number = 0;
    sc_sp_hub_lock(upkeep->hub);
    while (!atomic_load(&upkeep->stopping) && sc_bitcask_hint_pending(upkeep->store, &number)) {
        sc_sp_hub_unlock(upkeep->hub);
        enum sc_status status = sc_bitcask_hint_build(upkeep->store, number);
        sc_sp_hub_lock(upkeep->hub);
        sc_bitcask_hint_built(upkeep->store, number, status);
    }
    upkeep->working = false;
    sc_sp_hub_unlock(upkeep->hub);
}

static void *run(void *arg)
{
    struct sc_upkeep *upkeep = arg;
    for (;;) {
        while (sem_wait(&upkeep->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&upkeep->stopping)) {
            return NULL;
        }
        build_hints(upkeep);
    }
}

enum sc_status sc_upkeep_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_upkeep **out, char *why)
{
    struct sc_upkeep *upkeep = sc_calloc(1, sizeof *upkeep);
    upkeep->hub = hub;
    upkeep->store = store;
    (void)sem_init(&upkeep->wake, 0, 0);
    int error = pthread_create(&upkeep->thread, NULL, run, upkeep);
    if (error != 0) {
        (void)sem_destroy(&upkeep->wake);
        free(upkeep);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = upkeep;
    return SC_OK;
}

void sc_upkeep_stop(struct sc_upkeep *upkeep)
{
    if (upkeep == NULL) {
        return;
    }
    atomic_store(&upkeep->stopping, true);
    (void)sem_post(&upkeep->wake);
    (void)pthread_join(upkeep->thread, NULL);
    (void)sem_destroy(&upkeep->wake);
    free(upkeep);
}

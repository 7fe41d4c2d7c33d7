#include "shard/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct sc_ahead {
    struct sc_bitcask *store;
    pthread_t thread;
    sem_t wake; /* of the thread */
    sem_t done; /* posted once for each help that was run */
    atomic_bool stopping;

    struct sc_bitcask_help *help; /* the thread's from the post of wake to the post of done */
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

static void *run(void *arg)
{
    struct sc_ahead *ahead = arg;
    for (;;) {
        wait_for(&ahead->wake);
        if (atomic_load(&ahead->stopping)) {
            return NULL;
        }
        sc_bitcask_help_run(ahead->help);
        (void)sem_post(&ahead->done);
    }
}

enum sc_status sc_ahead_start(struct sc_bitcask *store, struct sc_ahead **out, char *why)
{
    struct sc_ahead *ahead = sc_calloc(1, sizeof *ahead);
    ahead->store = store;
    (void)sem_init(&ahead->wake, 0, 0);
    (void)sem_init(&ahead->done, 0, 0);
    int error = pthread_create(&ahead->thread, NULL, run, ahead);
    if (error != 0) {
        (void)sem_destroy(&ahead->wake);
        (void)sem_destroy(&ahead->done);
        free(ahead);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = ahead;
    return SC_OK;
}

static void take_back(struct sc_ahead *ahead)
{
    sc_bitcask_help_end(ahead->store, ahead->help);
    ahead->help = NULL;
}

void sc_ahead_poll(struct sc_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    if (ahead->help != NULL) {
        if (sem_trywait(&ahead->done) != 0) {
            return;
        }
        take_back(ahead);
    }
    ahead->help = sc_bitcask_help_begin(ahead->store);
    if (ahead->help != NULL) {
        (void)sem_post(&ahead->wake);
    }
}

void sc_ahead_wait(struct sc_ahead *ahead)
{
    if (ahead->help != NULL) {
        wait_for(&ahead->done);
        take_back(ahead);
    }
}

void sc_ahead_stop(struct sc_ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    sc_ahead_wait(ahead);
    atomic_store(&ahead->stopping, true);
    (void)sem_post(&ahead->wake);
    (void)pthread_join(ahead->thread, NULL);
    (void)sem_destroy(&ahead->wake);
    (void)sem_destroy(&ahead->done);
    free(ahead);
}

#include "common/sp.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/sp_internal.h"

/* ---- The lock and the work that is done when it is left ---- */

void sc_sp_hub_enter(struct sc_sp_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
}

/* Ends when nothing is left to do: what the callbacks called here bring about is done, too. */
static void settle(struct sc_sp_hub *hub)
{
    for (;;) {
        struct sc_sp_link *link = STAILQ_FIRST(&hub->link_work);
        if (link != NULL) {
            STAILQ_REMOVE_HEAD(&hub->link_work, work);
            sc_sp_link_work(link);
            continue;
        }
        if (hub->stirred) {
            hub->stirred = false;
            if (hub->options.on_drained != NULL) {
                hub->options.on_drained(hub->options.arg);
            }
            continue;
        }
        struct sc_sp_conn *conn = STAILQ_FIRST(&hub->work);
        if (conn == NULL) {
            return;
        }
        STAILQ_REMOVE_HEAD(&hub->work, work);
        sc_sp_conn_work(conn);
    }
}

void sc_sp_hub_leave(struct sc_sp_hub *hub)
{
    settle(hub);
    pthread_mutex_unlock(&hub->lock);
}

void sc_sp_hub_lock(struct sc_sp_hub *hub)
{
    sc_sp_hub_enter(hub);
}

void sc_sp_hub_unlock(struct sc_sp_hub *hub)
{
    hub->stirred = true;
    sc_sp_hub_leave(hub);
}

void sc_sp_hub_ended(struct sc_sp_hub *hub)
{
    if (hub->closing) {
        pthread_cond_signal(&hub->quiet);
    }
}

/* xorshift64*: jitter and first request ids need no more. */
uint64_t sc_sp_hub_random(struct sc_sp_hub *hub)
{
    hub->random ^= hub->random >> 12;
    hub->random ^= hub->random << 25;
    hub->random ^= hub->random >> 27;
    return (hub->random * UINT64_C(0x2545f4914f6cdd1d)) >> 16;
}

/* ---- The caretaker: time-outs, redials, freeing links ---- */

static struct timespec at_ms(uint64_t ms)
{
    return (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
}

void sc_sp_hub_wake_at(struct sc_sp_hub *hub, uint64_t ms)
{
    if (ms < hub->wake_ms) {
        hub->wake_ms = ms;
        pthread_cond_signal(&hub->wake);
    }
}

/* Frees links that nng has let go of. That may wait for a thread of nng, so the lock is not
 * held. */
static void free_ended(struct sc_sp_hub *hub)
{
    struct sc_sp_link *link;
    while ((link = LIST_FIRST(&hub->ended)) != NULL) {
        LIST_REMOVE(link, all);
        pthread_mutex_unlock(&hub->lock);
        sc_sp_link_free(link);
        pthread_mutex_lock(&hub->lock);
    }
}

static void sweep_conns(struct sc_sp_hub *hub)
{
    struct sc_sp_conn *conn = LIST_FIRST(&hub->conns);
    while (conn != NULL) {
        struct sc_sp_conn *next = LIST_NEXT(conn, all);
        sc_sp_conn_sweep(conn); /* may free this one, never another */
        conn = next;
    }
}

static void sweep(struct sc_sp_hub *hub)
{
    struct sc_sp_listener *listener;
    LIST_FOREACH(listener, &hub->listeners, all)
    {
        sc_sp_listener_sweep(listener);
    }
    /* A callback may close links, which moves them to another list only when the lock is left. */
    struct sc_sp_link *link;
    LIST_FOREACH(link, &hub->links, all)
    {
        sc_sp_link_sweep(link);
    }
}

static void *caretaker(void *arg)
{
    struct sc_sp_hub *hub = arg;
    uint64_t tick_ms = 0;
    uint64_t conns_ms = 0;
    pthread_mutex_lock(&hub->lock);
    while (!hub->stop) {
        hub->now_ms = sc_clock_mono_ms();
        hub->wake_ms = UINT64_MAX;
        sweep(hub);
        if (hub->now_ms >= conns_ms) {
            conns_ms = hub->now_ms + SC_SP_SWEEP_MS;
            sweep_conns(hub);
        }
        if (hub->now_ms >= tick_ms) {
            tick_ms = hub->now_ms + SC_SP_TICK_MS;
            hub->stirred = true;
            if (hub->options.on_tick != NULL && !hub->closing) {
                hub->options.on_tick(hub->options.arg);
            }
        }
        settle(hub);
        free_ended(hub);
        sc_sp_hub_wake_at(hub, tick_ms);
        while (!hub->stop && sc_clock_mono_ms() < hub->wake_ms) {
            struct timespec until = at_ms(hub->wake_ms);
            pthread_cond_timedwait(&hub->wake, &hub->lock, &until);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

/* The caretaker takes no signals: the program's own threads do. */
static int start_caretaker(struct sc_sp_hub *hub)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&hub->caretaker, NULL, caretaker, hub);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- Open and close ---- */

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void hub_free(struct sc_sp_hub *hub)
{
    nng_aio_free(hub->now_aio);
    pthread_cond_destroy(&hub->wake);
    pthread_cond_destroy(&hub->quiet);
    pthread_mutex_destroy(&hub->lock);
    sc_buf_fini(&hub->sink);
    free(hub);
}

enum sc_status sc_sp_hub_open(const struct sc_sp_hub_options *options, struct sc_sp_hub **hub,
                              char *why)
{
    struct sc_sp_hub *new = sc_calloc(1, sizeof *new);
    new->options = *options;
    new->now_ms = sc_clock_mono_ms();
    new->random = sc_clock_mono_ns() ^ sc_clock_wall_us() << 20 ^ (uintptr_t) new;
    new->random |= 1; /* must not be zero */
    LIST_INIT(&new->conns);
    LIST_INIT(&new->listeners);
    LIST_INIT(&new->links);
    LIST_INIT(&new->ended);
    STAILQ_INIT(&new->work);
    STAILQ_INIT(&new->link_work);
    pthread_mutex_init(&new->lock, NULL);
    init_condition(&new->wake);
    init_condition(&new->quiet);
    int error = nng_aio_alloc(&new->now_aio, NULL, NULL);
    if (error != 0) {
        hub_free(new);
        return sc_fail(why, SC_INTERNAL, "cannot start the transport: %s", nng_strerror(error));
    }
    error = start_caretaker(new);
    if (error != 0) {
        hub_free(new);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *hub = new;
    return SC_OK;
}

static bool output_waits(const struct sc_sp_hub *hub)
{
    const struct sc_sp_conn *conn;
    LIST_FOREACH(conn, &hub->conns, all)
    {
        if (!conn->dead && !sc_sp_conn_output_empty(conn)) {
            return true;
        }
    }
    return false;
}

static bool accepts(const struct sc_sp_hub *hub)
{
    const struct sc_sp_listener *listener;
    LIST_FOREACH(listener, &hub->listeners, all)
    {
        if (listener->accepting) {
            return true;
        }
    }
    return false;
}

static void stop_listeners(struct sc_sp_hub *hub)
{
    struct sc_sp_listener *listener;
    LIST_FOREACH(listener, &hub->listeners, all)
    {
        listener->stopped = true;
        listener->retry_ms = 0;
        nng_stream_listener_close(listener->stream);
    }
}

/* Ends every link and every connection. Origins that nobody has answered hold their connections no
 * longer. */
static void end_all(struct sc_sp_hub *hub)
{
    struct sc_sp_link *link;
    LIST_FOREACH(link, &hub->links, all)
    {
        sc_sp_link_close(link);
    }
    settle(hub); /* the ends of requests may still bring replies */
    struct sc_sp_conn *conn = LIST_FIRST(&hub->conns);
    while (conn != NULL) {
        struct sc_sp_conn *next = LIST_NEXT(conn, all);
        sc_sp_conn_ref(conn);
        sc_sp_conn_kill(conn, "closing");
        conn->references -= conn->origins;
        conn->origins = 0;
        sc_sp_conn_unref(conn);
        conn = next;
    }
    settle(hub);
}

static void stop_caretaker(struct sc_sp_hub *hub)
{
    hub->stop = true;
    pthread_cond_signal(&hub->wake);
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->caretaker, NULL);
    pthread_mutex_lock(&hub->lock);
}

void sc_sp_hub_close(struct sc_sp_hub *hub, uint32_t drain_ms)
{
    if (hub == NULL) {
        return;
    }
    pthread_mutex_lock(&hub->lock);
    hub->stirred = true;
    settle(hub);
    hub->closing = true;
    stop_listeners(hub);
    struct timespec until = at_ms(sc_clock_mono_ms() + drain_ms);
    while (output_waits(hub) && pthread_cond_timedwait(&hub->quiet, &hub->lock, &until) == 0) {
    }
    end_all(hub);
    while (!LIST_EMPTY(&hub->conns) || !LIST_EMPTY(&hub->links) || accepts(hub)) {
        pthread_cond_wait(&hub->quiet, &hub->lock);
    }
    stop_caretaker(hub);
    free_ended(hub);
    pthread_mutex_unlock(&hub->lock);

    struct sc_sp_listener *listener;
    while ((listener = LIST_FIRST(&hub->listeners)) != NULL) {
        LIST_REMOVE(listener, all);
        sc_sp_listener_free(listener);
    }
    hub_free(hub);
}

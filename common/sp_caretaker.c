#include <time.h>

#include "common/clock.h"
#include "common/sp_internal.h"

struct timespec sc_sp_caretaker_time(uint64_t ms)
{
    return (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
}

void sc_sp_caretaker_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

void sc_sp_caretaker_wake_at(struct sc_sp_hub *hub, uint64_t ms)
{
    struct sc_sp_caretaker *caretaker = &hub->caretaker;
    pthread_mutex_lock(&caretaker->lock);
    if (ms < caretaker->wake_ms) {
        caretaker->wake_ms = ms;
        pthread_cond_signal(&caretaker->wake);
    }
    pthread_mutex_unlock(&caretaker->lock);
}

void sc_sp_hub_set_timer(struct sc_sp_hub *hub, uint64_t at_ms)
{
    struct sc_sp_caretaker *caretaker = &hub->caretaker;
    pthread_mutex_lock(&caretaker->lock);
    if (at_ms < caretaker->timer_ms) {
        caretaker->timer_ms = at_ms;
        pthread_cond_signal(&caretaker->wake);
    }
    pthread_mutex_unlock(&caretaker->lock);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What it is time for. */
struct due {
    bool round, timer;
};

/* Sleeps until it is time for something, or somebody wants it to stop: false. The hub's lock is not
 * held: to get it back within pthread_cond_wait would not count as waiting for it, and a busy drain
 * would keep it for ever. */
static bool doze(struct sc_sp_caretaker *caretaker, struct due *due)
{
    pthread_mutex_lock(&caretaker->lock);
    uint64_t now = sc_clock_mono_ms();
    while (!caretaker->stop && now < earlier(caretaker->wake_ms, caretaker->timer_ms)) {
        struct timespec until =
            sc_sp_caretaker_time(earlier(caretaker->wake_ms, caretaker->timer_ms));
        pthread_cond_timedwait(&caretaker->wake, &caretaker->lock, &until);
        now = sc_clock_mono_ms();
    }
    bool goes_on = !caretaker->stop;
    *due = (struct due){now >= caretaker->wake_ms, now >= caretaker->timer_ms};
    caretaker->wake_ms = due->round ? UINT64_MAX : caretaker->wake_ms;
    caretaker->timer_ms = due->timer ? UINT64_MAX : caretaker->timer_ms;
    pthread_mutex_unlock(&caretaker->lock);
    return goes_on;
}

/* Frees links that nng has let go of. That may wait for a thread of nng, so the lock is not held
 * meanwhile. */
static void free_ended(struct sc_sp_hub *hub)
{
    sc_sp_hub_lock(hub);
    struct sc_sp_link_list ended = hub->ended;
    LIST_INIT(&hub->ended);
    sc_sp_hub_unlock(hub);
    struct sc_sp_link *link = LIST_FIRST(&ended);
    while (link != NULL) {
        struct sc_sp_link *next = LIST_NEXT(link, all);
        sc_sp_link_free(link);
        link = next;
    }
}

/* Links at rest that have been closed by their servers. */
static void check_watched(struct sc_sp_hub *hub)
{
    struct sc_sp_conn *conn = TAILQ_FIRST(&hub->watch);
    while (conn != NULL) {
        struct sc_sp_conn *next = TAILQ_NEXT(conn, watch);
        sc_sp_conn_check(conn);
        conn = next;
    }
}

static void sweep_conns(struct sc_sp_hub *hub)
{
    if (hub->now_ms < hub->caretaker.conns_ms) {
        return;
    }
    hub->caretaker.conns_ms = hub->now_ms + SC_SP_SWEEP_MS;
    struct sc_sp_conn *conn;
    LIST_FOREACH(conn, &hub->conns, all)
    {
        sc_sp_conn_sweep(conn);
    }
}

/* A callback may close links, which moves them to another list only when the lock is let go. */
static void sweep_owners(struct sc_sp_hub *hub)
{
    struct sc_sp_listener *listener;
    LIST_FOREACH(listener, &hub->listeners, all)
    {
        sc_sp_listener_sweep(listener);
    }
    struct sc_sp_link *link;
    LIST_FOREACH(link, &hub->links, all)
    {
        sc_sp_link_sweep(link);
    }
}

static void tick(struct sc_sp_hub *hub)
{
    if (hub->now_ms >= hub->caretaker.tick_ms) {
        hub->caretaker.tick_ms = hub->now_ms + SC_SP_TICK_MS;
        hub->period++;
        hub->busy = hub->active >= SC_SP_BUSY_MIN;
        hub->active = 0;
        if (hub->options.on_tick != NULL && !hub->closing) {
            hub->options.on_tick(hub->options.arg);
        }
    }
}

static void go_round(struct sc_sp_hub *hub)
{
    sweep_owners(hub);
    sweep_conns(hub);
    check_watched(hub);
    tick(hub);
    sc_sp_caretaker_wake_at(hub, hub->caretaker.tick_ms);
}

static void *caretaker_thread(void *arg)
{
    struct sc_sp_hub *hub = arg;
    struct due due = {.round = true};
    do {
        sc_sp_hub_lock(hub);
        hub->now_ms = sc_clock_mono_ms();
        if (due.timer && hub->options.on_timer != NULL && !hub->closing) {
            hub->options.on_timer(hub->options.arg);
        }
        if (due.round) {
            go_round(hub);
        }
        bool ended = !LIST_EMPTY(&hub->ended);
        sc_sp_hub_unlock(hub);
        if (ended) {
            free_ended(hub);
        }
    } while (doze(&hub->caretaker, &due));
    return NULL;
}

int sc_sp_caretaker_start(struct sc_sp_hub *hub)
{
    struct sc_sp_caretaker *caretaker = &hub->caretaker;
    pthread_mutex_init(&caretaker->lock, NULL);
    sc_sp_caretaker_condition(&caretaker->wake);
    caretaker->wake_ms = caretaker->timer_ms = UINT64_MAX;
    return sc_sp_thread_start(&caretaker->thread, "sp:caretaker", caretaker_thread, hub);
}

void sc_sp_caretaker_stop(struct sc_sp_hub *hub)
{
    struct sc_sp_caretaker *caretaker = &hub->caretaker;
    pthread_mutex_lock(&caretaker->lock);
    caretaker->stop = true;
    pthread_cond_signal(&caretaker->wake);
    pthread_mutex_unlock(&caretaker->lock);
    pthread_join(caretaker->thread, NULL);
    free_ended(hub);
    pthread_cond_destroy(&caretaker->wake);
    pthread_mutex_destroy(&caretaker->lock);
}

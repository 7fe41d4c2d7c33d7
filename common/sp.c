#include "common/sp.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/sp_internal.h"

/*
 * ---- Events, and the work that is done before the lock is let go ----
 *
 * nng completes operations on several threads. Whichever comes while nobody is draining becomes the
 * one that drains: it takes the lock and handles its own event and all that others post meanwhile,
 * who go back to nng at once instead of waiting for the lock. So what arrives together is handled
 * together: all events, then on_drained, then one send for each connection, then the next receives.
 */

#define EVENTS_MAX 64 /* handled before on_drained and the sends have their turn */
#define YIELDS_MAX 3 /* looks for more events before the draining thread leaves */

/* The value of `posted` while nobody is draining. */
static struct sc_sp_event idle_mark;

int sc_sp_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, arg);
    if (error == 0) {
        pthread_setname_np(*thread, name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

void sc_sp_event_init(struct sc_sp_event *event, struct sc_sp_hub *hub, void (*run)(void *arg),
                      void *arg)
{
    *event = (struct sc_sp_event){.hub = hub, .run = run, .arg = arg};
}

void sc_sp_event_queue(struct sc_sp_event *event)
{
    struct sc_sp_hub *hub = event->hub;
    event->next = NULL;
    *hub->queue_end = event;
    hub->queue_end = &event->next;
}

/* Moves what has been posted to the queue, in the order in which it was. */
static void take_posted(struct sc_sp_hub *hub)
{
    struct sc_sp_event *newest = atomic_exchange(&hub->posted, NULL);
    struct sc_sp_event *oldest = NULL;
    while (newest != NULL) {
        struct sc_sp_event *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct sc_sp_event *next = oldest->next;
        sc_sp_event_queue(oldest);
        oldest = next;
    }
}

static void run_events(struct sc_sp_hub *hub)
{
    for (int i = 0; i < EVENTS_MAX && hub->queue != NULL; i++) {
        struct sc_sp_event *event = hub->queue;
        hub->queue = event->next;
        if (hub->queue == NULL) {
            hub->queue_end = &hub->queue;
        }
        event->run(event->arg); /* may free the event */
    }
}

static bool events_wait(struct sc_sp_hub *hub)
{
    return hub->queue != NULL || atomic_load(&hub->posted) != NULL;
}

/* Does one piece of the work that has gathered; false when there is none. Receiving again comes
 * last: by then the peer has often sent its next request, which saves waiting for it.
 *
 * Tried and left out: to receive from clients only after their replies, or one batch of events
 * later still, while replies are awaited on links. It saved calls, but only paid with all processes
 * bound to one CPU, and pipelining clients had twice the p99. */
static bool work(struct sc_sp_hub *hub, bool draining)
{
    struct sc_sp_link *link = STAILQ_FIRST(&hub->link_work);
    struct sc_sp_conn *busy = STAILQ_FIRST(&hub->work);
    struct sc_sp_conn *ready = STAILQ_FIRST(&hub->arm);
    if (link != NULL) {
        STAILQ_REMOVE_HEAD(&hub->link_work, work);
        sc_sp_link_work(link);
    } else if (hub->stirred) {
        hub->stirred = false;
        if (hub->options.on_drained != NULL) {
            hub->options.on_drained(hub->options.arg);
        }
    } else if (busy != NULL) {
        STAILQ_REMOVE_HEAD(&hub->work, work);
        sc_sp_conn_work(busy);
    } else if (ready != NULL && !(draining && events_wait(hub))) {
        STAILQ_REMOVE_HEAD(&hub->arm, arm);
        sc_sp_conn_arm(ready);
    } else {
        return false;
    }
    return true;
}

/* Does all work, that of the callbacks called here included. */
static void settle(struct sc_sp_hub *hub, bool draining)
{
    while (work(hub, draining)) {
    }
}

void sc_sp_hub_settle(struct sc_sp_hub *hub)
{
    settle(hub, false);
    sc_sp_hub_leave(hub);
}

/* The lock has been let go: if somebody waits for it, waits until he has got it. A mutex alone
 * would let the draining thread have it again and again. */
static void give_way(struct sc_sp_hub *hub)
{
    unsigned turns = atomic_load(&hub->turns);
    while (atomic_load(&hub->waiting) > 0 && atomic_load(&hub->turns) == turns) {
        sched_yield();
    }
}

/* Queues the receives that are done, of those that the draining thread looks after. */
static void collect(struct sc_sp_hub *hub)
{
    struct sc_sp_conn *conn = TAILQ_FIRST(&hub->watch);
    while (conn != NULL) {
        struct sc_sp_conn *next = TAILQ_NEXT(conn, watch);
        sc_sp_conn_collect(conn);
        conn = next;
    }
}

/* There is nothing to do at the moment. With many peers it is worth letting others run, nng's
 * poller above all, and looking again: each message that is found in this way saves waking a
 * thread, and more of them are handled together. With few it would only cost time. */
static void look_again(struct sc_sp_hub *hub)
{
    collect(hub);
    for (int i = 0; hub->busy && i < YIELDS_MAX && !events_wait(hub) && !TAILQ_EMPTY(&hub->watch) &&
                    atomic_load(&hub->waiting) == 0;
         i++) {
        sched_yield();
        collect(hub);
    }
    if (!events_wait(hub)) {
        sc_sp_hub_leave(hub);
    }
}

void sc_sp_hub_leave(struct sc_sp_hub *hub)
{
    struct sc_sp_conn *conn = TAILQ_FIRST(&hub->watch);
    while (conn != NULL) {
        struct sc_sp_conn *next = TAILQ_NEXT(conn, watch);
        if (!conn->dead && !conn->served && !sc_sp_link_rests(conn)) {
            sc_sp_conn_leave(conn);
        }
        conn = next;
    }
}

static void drain(struct sc_sp_hub *hub)
{
    struct sc_sp_event *none;
    bool more;
    do {
        pthread_mutex_lock(&hub->lock);
        do {
            take_posted(hub);
            run_events(hub);
            settle(hub, true);
            if (!events_wait(hub)) {
                look_again(hub);
            }
            more = events_wait(hub);
        } while (more && atomic_load(&hub->waiting) == 0);
        pthread_mutex_unlock(&hub->lock);
        if (more) {
            give_way(hub);
        }
        none = NULL;
    } while (more || !atomic_compare_exchange_strong(&hub->posted, &none, &idle_mark));
    /* The hub may be gone now. */
}

void sc_sp_event_post(void *arg)
{
    struct sc_sp_event *event = arg;
    struct sc_sp_hub *hub = event->hub;
    struct sc_sp_event *newest = atomic_load(&hub->posted);
    do {
        event->next = newest == &idle_mark ? NULL : newest;
    } while (!atomic_compare_exchange_weak(&hub->posted, &newest, event));
    if (newest == &idle_mark) {
        drain(hub);
    }
}

void sc_sp_hub_lock(struct sc_sp_hub *hub)
{
    atomic_fetch_add(&hub->waiting, 1);
    pthread_mutex_lock(&hub->lock);
    atomic_fetch_sub(&hub->waiting, 1);
    atomic_fetch_add(&hub->turns, 1);
}

void sc_sp_hub_unlock(struct sc_sp_hub *hub)
{
    hub->stirred = true;
    settle(hub, false);
    sc_sp_hub_leave(hub);
    pthread_mutex_unlock(&hub->lock);
}

/* The link may be closed, and be gone, as soon as its connection is dead. */
void sc_sp_link_serve(struct sc_sp_link *link, bool (*done)(void *arg), void *arg)
{
    struct sc_sp_hub *hub = link->hub;
    struct sc_sp_conn *conn = link->conn;
    sc_sp_conn_ref(conn);
    hub->stirred = true;
    settle(hub, false);
    if (!conn->dead) {
        sc_sp_conn_hold(conn);
    }
    while (!done(arg) && !conn->dead && conn->watched && !conn->served && link->pending_count > 0) {
        sc_sp_conn_serve(conn);
        settle(hub, false);
    }
    sc_sp_conn_unref(conn);
    sc_sp_hub_leave(hub);
    pthread_mutex_unlock(&hub->lock);
}

uint64_t sc_sp_hub_relieved(const struct sc_sp_hub *hub)
{
    return hub->relieved;
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

/* ---- Open and close ---- */

static void hub_free(struct sc_sp_hub *hub)
{
    nng_aio_free(hub->now_aio);
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
    new->period = 1;
    LIST_INIT(&new->conns);
    LIST_INIT(&new->listeners);
    LIST_INIT(&new->links);
    LIST_INIT(&new->ended);
    STAILQ_INIT(&new->work);
    STAILQ_INIT(&new->arm);
    TAILQ_INIT(&new->watch);
    new->queue_end = &new->queue;
    atomic_init(&new->posted, &idle_mark);
    STAILQ_INIT(&new->link_work);
    pthread_mutex_init(&new->lock, NULL);
    sc_sp_caretaker_condition(&new->quiet);
    int error = nng_aio_alloc(&new->now_aio, NULL, NULL);
    if (error != 0) {
        hub_free(new);
        return sc_fail(why, SC_INTERNAL, "cannot start the transport: %s", nng_strerror(error));
    }
    error = sc_sp_poller_start(new);
    if (error == 0 && (error = sc_sp_caretaker_start(new)) != 0) {
        sc_sp_poller_stop(new);
    }
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
    settle(hub, false); /* the ends of requests may still bring replies */
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
    settle(hub, false);
}

void sc_sp_hub_close(struct sc_sp_hub *hub, uint32_t drain_ms)
{
    if (hub == NULL) {
        return;
    }
    sc_sp_hub_lock(hub);
    hub->stirred = true;
    settle(hub, false);
    hub->closing = true;
    stop_listeners(hub);
    struct timespec until = sc_sp_caretaker_time(sc_clock_mono_ms() + drain_ms);
    while (output_waits(hub) && pthread_cond_timedwait(&hub->quiet, &hub->lock, &until) == 0) {
    }
    end_all(hub);
    while (!LIST_EMPTY(&hub->conns) || !LIST_EMPTY(&hub->links) || accepts(hub)) {
        pthread_cond_wait(&hub->quiet, &hub->lock);
    }
    pthread_mutex_unlock(&hub->lock);
    while (atomic_load(&hub->posted) != &idle_mark) {
        sched_yield(); /* a thread of nng is about to leave */
    }
    sc_sp_poller_stop(hub);
    sc_sp_caretaker_stop(hub);

    struct sc_sp_listener *listener;
    while ((listener = LIST_FIRST(&hub->listeners)) != NULL) {
        LIST_REMOVE(listener, all);
        sc_sp_listener_free(listener);
    }
    hub_free(hub);
}

/*
 * What the parts of the SP transport share; nobody else includes this. The parts:
 *
 *   sp.c            the hub: its lock, events of nng, the work done when the lock is let go
 *   sp_caretaker.c  its own thread: time-outs, ticks, redials
 *   sp_poller.c     a thread that watches the sockets of connections
 *   sp_lookup.c     the descriptor of a stream, and sp_descriptor.c, for programs of ours
 *   sp_conn.c       one connection of either kind: handshake, receiving, sending, end
 *   sp_server.c     listeners, requests and replies
 *   sp_link.c       links: dialling, requests in flight
 *   sp_url.c        addresses
 *   sp_input.c      the receive buffer
 *   sp_frame.c      the bytes of the protocol
 *
 * Invariants, all under the hub's lock:
 *  1. An operation is submitted to a stream only while its connection is not dead: nng never
 *     completes what is submitted after a close.
 *  2. A connection is freed when nobody refers to it. References: one until it is dead, one for
 *     the receive in flight, one for the send in flight, one while it stands in a work list, one
 *     while the poller may name it, and one for each origin given out.
 *  3. Callbacks of the program are only called from events, from the caretaker or while the lock is
 *     being let go, never from inside a function that the program called; except that
 *     sc_sp_link_close ends what is in flight.
 *  4. While the lock is free, no connection has output waiting that is not being sent.
 *  5. While nobody is draining, no connection is watched but links on which nothing is awaited: the
 *     caretaker looks after these (or the poller, which sees the end of one), and whoever sends
 *     something again.
 */
#ifndef SC_COMMON_SP_INTERNAL_H
#define SC_COMMON_SP_INTERNAL_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "common/limits.h"
#include "common/sp.h"
#include "common/sp_frame.h"
#include "common/sp_input.h"

#define SC_SP_PROGRESS 4096u /* bytes of a frame that count as a sign of life */
#define SC_SP_OUTPUT_KEEP ((size_t)64 << 10) /* an output buffer keeps up to so much when empty */
#define SC_SP_OUTPUT_DEFAULT ((size_t)4 << 20)
#define SC_SP_REQUEST_COST 1024u /* what a request in flight counts beside its own bytes */
#define SC_SP_HANDSHAKE_MS 5000u
#define SC_SP_ACCEPT_PAUSE_MS 50u /* after a failed accept, mostly for want of descriptors */
#define SC_SP_BUSY_MIN 4u /* connections active at once that make collecting their messages pay */
#define SC_SP_TRIM_MS 5000u /* a connection silent for so long gives back its buffers */
#define SC_SP_SWEEP_MS 250u /* how often connections are looked over for time-outs */

/* Something that nng has finished and that waits to be handled under the hub's lock. Whoever embeds
 * it posts it at most once at a time: with each completion of the one operation it stands for. */
struct sc_sp_event {
    struct sc_sp_event *next;
    struct sc_sp_hub *hub;
    void (*run)(void *arg); /* lock held */
    void *arg;
};

/* What the owner of a connection, a listener or a link, does about it. Lock held. */
struct sc_sp_owner_ops {
    void (*opened)(struct sc_sp_conn *conn); /* the handshake is done */
    /* A frame: `words` words, then the body. */
    void (*message)(struct sc_sp_conn *conn, struct sc_slice payload, uint32_t words);
    /* The connection is dead; the owner forgets it. Calls nothing of the program. */
    void (*died)(struct sc_sp_conn *conn, const char *why);
};

struct sc_sp_traffic {
    uint64_t bytes_in;
    uint64_t bytes_out;
};

struct sc_sp_conn {
    /* Constant. */
    struct sc_sp_hub *hub;
    const struct sc_sp_owner_ops *ops;
    nng_stream *stream;
    nng_aio *receive_aio; /* without a callback */
    nng_aio *wake_aio; /* completes behind receive_aio, see `receive` in sp_conn.c */
    nng_aio *send_aio;
    size_t output_max;
    size_t message_max;
    bool ipc;
    uint16_t peer_protocol; /* what the peer must speak */
    uint64_t number; /* sc_sp_number */

    /* Guarded by the hub's lock. */
    void *owner; /* not used once dead */
    struct sc_sp_traffic *traffic; /* the owner's, not used once dead */
    LIST_ENTRY(sc_sp_conn) all;
    STAILQ_ENTRY(sc_sp_conn) work, arm; /* in the hub's lists of these names */
    STAILQ_ENTRY(sc_sp_conn) removed; /* in the poller's */
    TAILQ_ENTRY(sc_sp_conn) watch;
    struct sc_sp_event received, sent;
    uint64_t references;
    bool dead;
    bool open; /* handshake done */
    bool receiving, sending, working, arming;
    bool watched; /* in the hub's list `watch`: nothing else tells of what it has received */
    bool served; /* a thread waits for its receive (sc_sp_link_serve): nobody else may touch it */
    int fd; /* that the poller watches unless `watched`; -1: nng tells when it has received */
    bool ready; /* there may be more to receive, the poller said */
    bool ended; /* ... and then comes the end */
    bool unread; /* `in` may hold whole frames, left because of too much output or the end */
    uint64_t period; /* the last in which it has sent something */
    uint64_t since_ms; /* beginning, then the last sign of life */
    uint64_t deadline_ms; /* for the handshake */
    uint64_t idle_ms; /* 0: no limit */
    size_t in_flight; /* cost of the requests given out and not answered */
    bool stuffed; /* sc_sp_stuffed */
    uint64_t origins; /* how many they are */
    size_t frame_begin; /* in `out`, of the frame being written */
    nng_aio *receiving_aio; /* whichever has the result of the receive in flight */
    struct sc_sp_input in; /* its room belongs to nng while a receive is in flight */
    size_t in_progress; /* bytes received since the last sign of life */
    struct sc_buf out; /* waits to be sent */
    struct sc_buf wire; /* being sent; the first wire_sent bytes have left */
    size_t wire_sent;
};

LIST_HEAD(sc_sp_conn_list, sc_sp_conn);
STAILQ_HEAD(sc_sp_work_list, sc_sp_conn);
TAILQ_HEAD(sc_sp_watch_list, sc_sp_conn);

struct sc_sp_listener {
    /* Constant. */
    struct sc_sp_hub *hub;
    struct sc_sp_listener_options options;
    char url[SC_URL_MAX + 8];
    bool ipc;
    nng_stream_listener *stream;
    nng_aio *accept_aio;
    struct sc_sp_event accepted;

    /* Guarded by the hub's lock. */
    LIST_ENTRY(sc_sp_listener) all;
    bool stopped;
    bool accepting;
    bool failing; /* the last accept failed, which has been logged */
    uint64_t retry_ms; /* when to accept again after a failure; 0: no pause */
    struct sc_sp_listener_counts counts; /* without bytes_in and bytes_out */
    struct sc_sp_traffic traffic;
};

LIST_HEAD(sc_sp_listener_list, sc_sp_listener);

/* A request in flight on a link. */
struct sc_sp_pending {
    uint32_t id; /* 0: the place is free (an id always has its top bit set) */
    void *tag;
    uint64_t deadline_ms; /* 0: none */
};

struct sc_sp_link {
    /* Constant. */
    struct sc_sp_hub *hub;
    struct sc_sp_link_options options;
    char url[SC_URL_MAX + 1];
    bool ipc;
    nng_stream_dialer *dialer;
    nng_aio *dial_aio;
    struct sc_sp_event dialled;

    /* Guarded by the hub's lock. */
    LIST_ENTRY(sc_sp_link) all;
    STAILQ_ENTRY(sc_sp_link) work;
    bool closed;
    bool dialling;
    bool up; /* sc_sp_link_up */
    bool told_up; /* what on_state has said last */
    bool working; /* in the hub's list of links to settle */
    struct sc_sp_conn *conn;
    uint64_t redial_ms; /* when to dial again; 0: not waiting for that */
    uint64_t up_since_ms;
    uint32_t backoff_ms;
    char why[SC_WHY_SIZE];
    struct sc_sp_traffic traffic;
    /* In flight: a request with id i stands at pending[i & (pending_size - 1)]. */
    struct sc_sp_pending *pending;
    size_t pending_size; /* a power of two */
    size_t pending_count;
    uint32_t next_id;
};

LIST_HEAD(sc_sp_link_list, sc_sp_link);
STAILQ_HEAD(sc_sp_link_work, sc_sp_link);

/* The hub's own thread: time-outs, ticks, the next dials, and whatever must not be done in a
 * callback. */
struct sc_sp_caretaker {
    pthread_t thread;
    uint64_t tick_ms, conns_ms; /* when these are due; guarded by the hub's lock */
    pthread_mutex_t lock; /* may be taken while the hub's is held */
    pthread_cond_t wake;
    uint64_t wake_ms; /* guarded by lock */
    uint64_t timer_ms; /* guarded by lock */
    bool stop; /* guarded by lock */
};

/* The thread that watches connections, if the hub can find their descriptors: while a connection is
 * watched here, nothing waits in nng for it to receive. Its bytes are received and sent by its
 * descriptor, which belongs to nng; what cannot be sent at once is left to nng. */
struct sc_sp_poller {
    pthread_t thread;
    int epoll_fd;
    int wake_fd; /* eventfd: look at the fields below */
    /* Guarded by the hub's lock. */
    bool stop;
    bool handling; /* the thread holds the lock and will look at the list */
    struct sc_sp_work_list removed; /* connections not watched any more */
};

struct sc_sp_hub {
    /* Constant. */
    struct sc_sp_hub_options options;
    struct sc_sp_caretaker caretaker;
    struct sc_sp_poller poller;

    /* Events posted and not yet taken, the newest first: NULL if there are none, or a mark of its
     * own while nobody is draining them. Any thread. */
    _Atomic(struct sc_sp_event *) posted;
    atomic_uint waiting; /* threads that want the lock */
    atomic_uint turns; /* how often one of them got it */

    pthread_mutex_t lock;
    /* Guarded by it from here on. */
    struct sc_sp_event *queue, **queue_end; /* events taken, the oldest first */
    nng_aio *now_aio; /* without a callback: for sends that are tried at once */
    pthread_cond_t quiet; /* sc_sp_hub_close: something has ended */
    bool closing; /* no new connections and no more requests are taken */
    bool plain; /* receive with a callback, see `receive` in sp_conn.c */
    uint64_t period; /* counts ticks, from 1 */
    uint32_t active; /* connections that have sent something in this period */
    bool busy; /* in the last one they were SC_SP_BUSY_MIN at least */
    bool stirred; /* callbacks ran, so on_drained has to be called */
    uint64_t now_ms; /* as of the caretaker's last round, or newer */
    uint64_t random;
    uint64_t relieved; /* sc_sp_hub_relieved */
    uint64_t opened; /* connections, ever */
    struct sc_sp_conn_list conns;
    struct sc_sp_listener_list listeners;
    struct sc_sp_link_list links;
    struct sc_sp_link_list ended; /* closed links that nng has let go of, to be freed */
    struct sc_sp_work_list work; /* connections with something to send or to handle */
    struct sc_sp_work_list arm; /* connections that can receive again */
    struct sc_sp_watch_list watch; /* receives that the draining thread looks after */
    struct sc_sp_link_work link_work; /* links whose connection has come up or gone */
    struct sc_buf sink; /* where replies to connections that have gone are written */
};

/* ---- sp.c ---- */

void sc_sp_event_init(struct sc_sp_event *event, struct sc_sp_hub *hub, void (*run)(void *arg),
                      void *arg);

/* The callback of every aio: its argument is an event. */
void sc_sp_event_post(void *arg);

/* Leaves to threads of nng what is watched, but links at rest. Lock held. */
void sc_sp_hub_leave(struct sc_sp_hub *hub);

/* Has an event run by the thread that is draining at the moment. Lock held. */
void sc_sp_event_queue(struct sc_sp_event *event);

/* Does the work that has gathered, as whoever lets go of the lock must. Lock held. */
void sc_sp_hub_settle(struct sc_sp_hub *hub);

/* Starts a thread that takes no signals. Returns an errno. */
int sc_sp_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

uint64_t sc_sp_hub_random(struct sc_sp_hub *hub);

/* Something that sc_sp_hub_close may wait for has ended. */
void sc_sp_hub_ended(struct sc_sp_hub *hub);

/* ---- sp_caretaker.c ---- */

/* Starts the thread. Returns an errno. */
int sc_sp_caretaker_start(struct sc_sp_hub *hub);

/* Ends it and frees the links that are left. Lock not held. */
void sc_sp_caretaker_stop(struct sc_sp_hub *hub);

/* Makes it look at everything at `ms` (sc_clock_mono_ms) at the latest. Any thread, with the lock
 * held or not. */
void sc_sp_caretaker_wake_at(struct sc_sp_hub *hub, uint64_t ms);

/* A condition variable of the monotonic clock, and a time for it. */
void sc_sp_caretaker_condition(pthread_cond_t *condition);
struct timespec sc_sp_caretaker_time(uint64_t ms);

/* ---- sp_poller.c ---- */

/* Starts the thread, if there is one. Returns an errno. */
int sc_sp_poller_start(struct sc_sp_hub *hub);

/* Ends it, when no connection is left. Lock not held. */
void sc_sp_poller_stop(struct sc_sp_hub *hub);

/* Watches a connection from now on, if its descriptor can be found. Lock held. */
void sc_sp_poller_add(struct sc_sp_conn *conn);

/* Before the connection is closed. Lock held. */
void sc_sp_poller_remove(struct sc_sp_conn *conn);

/* Has the poller look out for something to receive, or (false) only for the end of the connection.
 * Lock held. */
void sc_sp_poller_look_out(struct sc_sp_conn *conn, bool for_bytes);

/* ---- sp_conn.c: lock held ---- */

struct sc_sp_conn_setup {
    const struct sc_sp_owner_ops *ops;
    void *owner;
    struct sc_sp_traffic *traffic;
    nng_stream *stream; /* taken, also on failure */
    bool ipc;
    uint16_t protocol; /* ours; the peer must speak the other one */
    size_t output_max;
    size_t message_max;
    uint32_t handshake_ms;
    uint32_t idle_ms;
};

/* Starts the handshake. NULL: nng has no memory. */
struct sc_sp_conn *sc_sp_conn_open(struct sc_sp_hub *hub, const struct sc_sp_conn_setup *setup);

/* Closes the connection and tells its owner. Nothing happens if it is dead already. It is not freed
 * before the lock is left. */
void sc_sp_conn_kill(struct sc_sp_conn *conn, const char *why);

void sc_sp_conn_ref(struct sc_sp_conn *conn);
void sc_sp_conn_unref(struct sc_sp_conn *conn); /* may free it */

/* Queues the connection for sc_sp_conn_work. */
void sc_sp_conn_touch(struct sc_sp_conn *conn);

/* Finds out anew whether the connection is stuffed: to be called when its output has changed. */
void sc_sp_conn_weigh(struct sc_sp_conn *conn);

/* Sends what waits and handles frames that were left. */
void sc_sp_conn_work(struct sc_sp_conn *conn);

/* The poller has seen that there is something to receive. `ended`: and that nothing comes after it.
 */
void sc_sp_conn_ready(struct sc_sp_conn *conn, bool ended);

/* Receives again. Whoever holds the lock looks after the receive (see below), or leaves it to a
 * thread of nng before it lets the lock go. */
void sc_sp_conn_arm(struct sc_sp_conn *conn);

/* For a connection that is watched: queues its event if its receive is done. */
void sc_sp_conn_collect(struct sc_sp_conn *conn);

/* Leaves a watched connection to the poller, or to a thread of nng. */
void sc_sp_conn_leave(struct sc_sp_conn *conn);

/* Has a connection watched, if it can be: sc_sp_conn_serve receives from it. */
void sc_sp_conn_hold(struct sc_sp_conn *conn);

/* For a connection that is watched: handles what it has received, or at least its end. */
void sc_sp_conn_check(struct sc_sp_conn *conn);

/* For a connection that is watched: waits for its receive without the lock, and handles it. */
void sc_sp_conn_serve(struct sc_sp_conn *conn);

/* Time-outs and idle buffers. */
void sc_sp_conn_sweep(struct sc_sp_conn *conn);

static inline bool sc_sp_conn_output_empty(const struct sc_sp_conn *conn)
{
    return conn->out.size == 0 && !conn->sending;
}

/* ---- sp_server.c ---- */

/* Accepts again where a pause is over. Lock held. */
void sc_sp_listener_sweep(struct sc_sp_listener *listener);

/* Lock not held; its connections are gone. */
void sc_sp_listener_free(struct sc_sp_listener *listener);

/* ---- sp_link.c ---- */

/* Ends what was in flight on a lost connection, tells the program, plans the next dial. Lock held.
 */
void sc_sp_link_work(struct sc_sp_link *link);

/* True for the connection of a link that is up and has nothing in flight. Lock held. */
bool sc_sp_link_rests(const struct sc_sp_conn *conn);

/* Requests that have run out of time, and the next dial. Lock held. */
void sc_sp_link_sweep(struct sc_sp_link *link);

/* Lock not held; the link is in no list any more and nothing is in flight. */
void sc_sp_link_free(struct sc_sp_link *link);

/* ---- sp_url.c ---- */

bool sc_sp_url_is_ipc(const char *url);

#endif

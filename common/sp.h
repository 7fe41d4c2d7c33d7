/*
 * SP transport: the request/reply wire protocol of nanomsg and nng, spoken over nng streams, for
 * servers and clients alike. One process has one hub; listeners and links (client connections)
 * belong to it.
 *
 *   peer ==frames==> receive buffer --every whole frame--> on_request / on_reply
 *                                                            |
 *   peer <==one send== output buffer <-- replies/requests ---+   then on_drained, once for all that
 *                                                                came together
 *
 * Wire format. Both sides first send 8 bytes: 00 'S' 'P' 00, the protocol as u16 (0x0030 REQ for a
 * client, 0x0031 REP for a server), 00 00; all integers big-endian. Then frames: on tcp and tls a
 * u64 length, on ipc one byte 01 and a u64 length, followed by that many bytes: 0 to
 * SC_SP_HOPS_MAX hop words with the top bit clear, one request id with the top bit set (u32 each),
 * then the body. A reply repeats all these words. A connection may carry many requests at once and
 * the replies in any order.
 *
 * Threads. Everything of a hub is guarded by its one lock. All callbacks run with the lock held, on
 * threads of nng or of the hub, and must not block: no disk, no sleep, no waiting for another
 * message. A thread of the program's own enters through sc_sp_hub_lock; callbacks may also run in
 * its sc_sp_hub_unlock, so it must not hold a lock then that they take. What has arrived at the
 * same time is handled by one thread, one after the other; then the output is sent, joined per
 * connection, one send in flight for each. A thread of nng takes on the signal mask of whoever
 * calls nng first: block what the program waits for with sigwait or signalfd before the first hub
 * is opened. After fork() a child must not use a hub.
 *
 * Robustness. A frame's length is checked against the limit before memory is taken for it; a peer
 * that breaks the protocol, or does not finish the handshake in time, loses its connection and
 * harms nobody else. A connection that does not read its replies, or has too much in flight, is not
 * read from until it has caught up. A message is never sent twice: what was in flight on a link
 * that broke ends as SC_UNKNOWN.
 */
#ifndef SC_COMMON_SP_H
#define SC_COMMON_SP_H

#include "common/buf.h"
#include "common/status.h"

struct nng_stream;
struct sc_sp_hub;
struct sc_sp_listener;
struct sc_sp_link;
struct sc_sp_conn;

#define SC_SP_HOPS_MAX 8

/* ---- Hub ---- */

/* The descriptor of a stream on tcp or ipc, -1 if it cannot be found. */
typedef int sc_sp_descriptor_fn(struct nng_stream *stream, bool ipc);

struct sc_sp_hub_options {
    size_t message_max; /* bytes of a message body; a longer frame closes the connection */
    /* Called after the messages of one receive, or of several that came together, were handed over
     * and before output is sent, and likewise before sc_sp_hub_unlock sends: the place to send on
     * what was gathered. NULL: none. */
    void (*on_drained)(void *arg);
    /* Called about every SC_SP_TICK_MS, for time-outs. NULL: none. */
    void (*on_tick)(void *arg);
    /* Called once after each sc_sp_hub_set_timer, for what cannot wait for a tick. NULL: none. */
    void (*on_timer)(void *arg);
    void *arg;
    /* With it, see sp_descriptor.h and sp_lookup.h, the hub watches its connections on a thread of
     * its own. NULL: threads of nng do, which takes more switches and system calls. */
    sc_sp_descriptor_fn *descriptor;
};

#define SC_SP_TICK_MS 50

enum sc_status sc_sp_hub_open(const struct sc_sp_hub_options *options, struct sc_sp_hub **hub,
                              char *why);

/* Stops listeners and links that are still there, waits for running callbacks and frees all. Not
 * from a callback. New requests are not taken any more; requests in flight on links end with
 * SC_UNKNOWN before it returns; output that has been queued is given `drain_ms` to leave. Origins
 * that have not been answered until then are void. NULL is allowed. */
void sc_sp_hub_close(struct sc_sp_hub *hub, uint32_t drain_ms);

/* Has on_timer called when the monotonic clock shows `at_ms`, or a little later, unless it is
 * called earlier for somebody else: there is one timer, and the earliest time counts. Lock held. */
void sc_sp_hub_set_timer(struct sc_sp_hub *hub, uint64_t at_ms);

void sc_sp_hub_lock(struct sc_sp_hub *hub);
void sc_sp_hub_unlock(struct sc_sp_hub *hub);

/* ---- Server ---- */

/* Where a request came from: kept by whoever answers later, passed back with the reply. Each origin
 * must be answered or dropped exactly once; it is safe, and needed, also after its connection has
 * gone. Plain data: may be copied (but still answered once). */
struct sc_sp_origin {
    struct sc_sp_conn *conn;
    uint32_t words; /* hop words and the request id, in `header` as they came */
    uint32_t cost; /* what it counts for output_max */
    uint8_t header[4 * (SC_SP_HOPS_MAX + 1)];
};

/* A request has arrived. `body` is valid during the call. */
typedef void sc_sp_request_fn(void *arg, const struct sc_sp_origin *origin, struct sc_slice body);

struct sc_sp_listener_options {
    const char *url; /* tcp://host:port (port 0: any free one), ipc:///path */
    sc_sp_request_fn *on_request;
    void *arg;
    uint32_t connections_max; /* more are closed at once; 0: SC_CONNECTIONS_DEFAULT */
    uint32_t handshake_ms; /* 0: 5,000 */
    uint32_t idle_ms; /* a connection silent for so long is closed; 0: never */
    uint32_t ipc_permissions; /* mode of the socket file; 0: 0600 */
    size_t output_max; /* bytes of output, or of requests in flight, before a peer is no
                          longer read from; 0: 4 MiB */
    size_t message_max; /* bytes of a message body; 0: the hub's */
};

/* Starts to listen. On failure `why` names the address and what to do (SC_IO: the address is in
 * use or cannot be had; SC_BADREQUEST: no address at all). */
enum sc_status sc_sp_listen(struct sc_sp_hub *hub, const struct sc_sp_listener_options *options,
                            struct sc_sp_listener **listener, char *why);

/* The address it really listens on (with the port filled in). Valid as long as the listener. */
const char *sc_sp_listener_url(const struct sc_sp_listener *listener);

/* Takes no more connections; those that exist go on. With the lock not held. */
void sc_sp_listener_stop(struct sc_sp_listener *listener);

/* Figures for stats. Lock held. */
struct sc_sp_listener_counts {
    uint64_t connections; /* now */
    uint64_t accepted; /* ever */
    uint64_t refused; /* over the limit, failed handshakes and broken frames */
    uint64_t requests;
    uint64_t bytes_in, bytes_out;
};
/* Adds the listener's figures to `counts`. */
void sc_sp_listener_add_counts(const struct sc_sp_listener *listener,
                               struct sc_sp_listener_counts *counts);

/* Replies. Lock held. sc_sp_reply_begin returns the output buffer of the connection: append the
 * body to it, then call sc_sp_reply_end; nothing else of the hub in between. When the connection
 * has gone the bytes go nowhere. sc_sp_reply does both for a body at hand. sc_sp_drop gives up
 * without an answer. */
struct sc_buf *sc_sp_reply_begin(const struct sc_sp_origin *origin);
void sc_sp_reply_end(const struct sc_sp_origin *origin);
void sc_sp_reply(const struct sc_sp_origin *origin, struct sc_slice body);
void sc_sp_drop(const struct sc_sp_origin *origin);

/* A reply of so many bytes, or part of one, is held back by whoever is to answer: it counts for
 * output_max like one that has been sent. Lock held. */
void sc_sp_charge(struct sc_sp_origin *origin, size_t bytes);

/* True when the peer does not take what it was sent: output_max bytes of replies wait for it. What
 * it asked for and has not been begun had better wait, too. Lock held. */
bool sc_sp_stuffed(const struct sc_sp_origin *origin);

/* True when the connection has ended: an answer reaches nobody. Lock held. */
bool sc_sp_gone(const struct sc_sp_origin *origin);

/* The number of the connection, never 0: one accepted later has a larger one. Lock held. */
uint64_t sc_sp_number(const struct sc_sp_origin *origin);

/* Changes whenever a stuffed connection has room again, or ends; the work that was put off because
 * of one is then worth another look. on_drained follows. Lock held. */
uint64_t sc_sp_hub_relieved(const struct sc_sp_hub *hub);

/* ---- Client ---- */

enum sc_sp_link_state { SC_SP_DOWN, SC_SP_UP };

struct sc_sp_link_options {
    const char *url;
    /* The link has come up or gone down; `why` says why it went down. Before a DOWN every request
     * in flight has been ended. Not called for each failed attempt to connect while down. */
    void (*on_state)(void *arg, enum sc_sp_link_state state, const char *why);
    /* The end of one request: SC_OK with the reply's body (valid during the call), or SC_UNKNOWN:
     * the connection broke or the time ran out. `tag` is what sc_sp_send_begin was given. */
    void (*on_reply)(void *arg, void *tag, enum sc_status status, struct sc_slice body);
    void *arg;
    uint32_t reconnect_min_ms; /* back-off, doubling between these; 0: 20 and 1,000 */
    uint32_t reconnect_max_ms;
    uint32_t handshake_ms; /* 0: 5,000 */
};

/* Starts to connect, in the background and again after each loss. Fails only for a bad address. The
 * link is stored before the first callback. Lock not held, or held. */
enum sc_status sc_sp_dial(struct sc_sp_hub *hub, const struct sc_sp_link_options *options,
                          struct sc_sp_link **link, char *why);
enum sc_status sc_sp_dial_locked(struct sc_sp_hub *hub, const struct sc_sp_link_options *options,
                                 struct sc_sp_link **link, char *why);

/* Closes the link: requests in flight end with SC_UNKNOWN during the call, on_state is not called
 * any more, and the link is freed when nng lets go of it. Lock held. NULL is allowed. */
void sc_sp_link_close(struct sc_sp_link *link);

/* Lock held from here on. */
bool sc_sp_link_up(const struct sc_sp_link *link);

/* Why the link is down or the last attempt to connect failed, in words; "" if there is nothing to
 * tell. Valid until the lock is released. */
const char *sc_sp_link_why(const struct sc_sp_link *link);

/* Breaks the connection (as a time-out or a senseless reply calls for); it is dialled anew. The
 * link is down at once; requests in flight end, and on_state is called, before the lock is
 * released. */
void sc_sp_link_reset(struct sc_sp_link *link, const char *why);

/* Sends one request; on_reply tells its end exactly once. Only while the link is up. timeout_ms 0:
 * none; after it the request ends as SC_UNKNOWN, the connection stays, and a reply that still comes
 * is dropped. Append the body to the buffer returned, then call sc_sp_send_end; nothing else of the
 * hub in between. */
struct sc_buf *sc_sp_send_begin(struct sc_sp_link *link, void *tag, uint32_t timeout_ms);
void sc_sp_send_end(struct sc_sp_link *link);

/* Lets the lock go, as sc_sp_hub_unlock does, but receives on this thread, for this link, until
 * `done` (called with the lock held) says that what it waits for has come: that saves waking
 * threads. May return earlier: somebody else receives already, the link went down, ... The link is
 * up. Lock held; not from a callback. */
void sc_sp_link_serve(struct sc_sp_link *link, bool (*done)(void *arg), void *arg);

/* Has the thread that serves the link, if there is one, ask `done` again, within a tick. */
void sc_sp_link_nudge(struct sc_sp_link *link);

/* Looks whether the link has gone down while it was at rest, which else is noticed by the next
 * tick. Not from on_reply. */
void sc_sp_link_check(struct sc_sp_link *link);

/* How many requests are in flight. */
size_t sc_sp_link_in_flight(const struct sc_sp_link *link);

/* ---- Addresses ---- */

/* Checks an address as the user typed it: SC_BADREQUEST with a sentence when it is none. */
enum sc_status sc_sp_url_check(const char *url, bool to_listen, char *why);

#endif

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/sp_internal.h"

static void received(void *arg);
static void sent(void *arg);

/* ---- Life ---- */

struct sc_sp_conn *sc_sp_conn_open(struct sc_sp_hub *hub, const struct sc_sp_conn_setup *setup)
{
    struct sc_sp_conn *conn = sc_calloc(1, sizeof *conn);
    sc_sp_event_init(&conn->received, hub, received, conn);
    sc_sp_event_init(&conn->sent, hub, sent, conn);
    if (nng_aio_alloc(&conn->receive_aio, NULL, NULL) != 0 ||
        nng_aio_alloc(&conn->wake_aio, sc_sp_event_post, &conn->received) != 0 ||
        nng_aio_alloc(&conn->send_aio, sc_sp_event_post, &conn->sent) != 0) {
        nng_aio_reap(conn->receive_aio);
        nng_aio_reap(conn->wake_aio);
        nng_stream_close(setup->stream);
        nng_stream_free(setup->stream);
        free(conn);
        return NULL;
    }
    conn->hub = hub;
    conn->number = ++hub->opened;
    conn->ops = setup->ops;
    conn->owner = setup->owner;
    conn->traffic = setup->traffic;
    conn->stream = setup->stream;
    conn->ipc = setup->ipc;
    conn->peer_protocol = setup->protocol == SC_SP_FRAME_REQ ? SC_SP_FRAME_REP : SC_SP_FRAME_REQ;
    conn->output_max = setup->output_max;
    conn->message_max = setup->message_max;
    conn->since_ms = sc_clock_mono_ms();
    conn->deadline_ms = conn->since_ms + setup->handshake_ms;
    conn->idle_ms = setup->idle_ms;
    conn->references = 1;
    LIST_INSERT_HEAD(&hub->conns, conn, all);
    conn->fd = -1;
    sc_sp_poller_add(conn);

    sc_sp_frame_handshake_put(sc_buf_reserve(&conn->out, SC_SP_FRAME_HANDSHAKE), setup->protocol);
    conn->out.size += SC_SP_FRAME_HANDSHAKE;
    sc_sp_conn_touch(conn);
    return conn;
}

static size_t output_size(const struct sc_sp_conn *conn)
{
    return conn->out.size + (conn->wire.size - conn->wire_sent);
}

void sc_sp_conn_weigh(struct sc_sp_conn *conn)
{
    bool stuffed = !conn->dead && output_size(conn) >= conn->output_max;
    if (conn->stuffed && !stuffed) {
        conn->hub->relieved++;
        conn->hub->stirred = true;
    }
    conn->stuffed = stuffed;
}

static void begin_watch(struct sc_sp_conn *conn)
{
    conn->watched = true;
    TAILQ_INSERT_TAIL(&conn->hub->watch, conn, watch);
}

static void end_watch(struct sc_sp_conn *conn)
{
    TAILQ_REMOVE(&conn->hub->watch, conn, watch);
    conn->watched = false;
}

void sc_sp_conn_kill(struct sc_sp_conn *conn, const char *why)
{
    if (conn->dead) {
        return;
    }
    conn->dead = true;
    if (conn->watched && conn->fd >= 0) {
        end_watch(conn);
    }
    sc_sp_poller_remove(conn);
    nng_stream_close(conn->stream);
    conn->ops->died(conn, why);
    sc_sp_conn_weigh(conn);
    /* The work list holds a reference, so whoever called may go on using it until then. */
    sc_sp_conn_touch(conn);
    conn->references--;
}

/* Closing has ended the receive of a watched connection without telling anybody. */
static void end_watched_receive(struct sc_sp_conn *conn)
{
    end_watch(conn);
    nng_aio_wait(conn->receive_aio);
    conn->receiving = false;
    assert(conn->references > 1); /* the work list's */
    conn->references--;
}

/* Gives back the descriptor and the memory of a dead connection, once nng is through with them:
 * requests that are still to be answered hold on to little. */
static void release(struct sc_sp_conn *conn)
{
    assert(conn->dead);
    if (conn->watched) {
        end_watched_receive(conn);
    }
    if (conn->receiving || conn->sending || conn->stream == NULL) {
        return;
    }
    nng_stream_free(conn->stream);
    conn->stream = NULL;
    nng_aio_reap(conn->receive_aio);
    nng_aio_reap(conn->wake_aio);
    nng_aio_reap(conn->send_aio);
    sc_sp_input_fini(&conn->in);
    sc_buf_fini(&conn->out);
    sc_buf_fini(&conn->wire);
}

static void conn_free(struct sc_sp_conn *conn)
{
    assert(conn->stream == NULL && !conn->working && !conn->arming && !conn->watched);
    LIST_REMOVE(conn, all);
    sc_sp_hub_ended(conn->hub);
    free(conn);
}

void sc_sp_conn_ref(struct sc_sp_conn *conn)
{
    conn->references++;
}

void sc_sp_conn_unref(struct sc_sp_conn *conn)
{
    assert(conn->references > 0);
    if (--conn->references == 0) {
        conn_free(conn);
    }
}

void sc_sp_conn_touch(struct sc_sp_conn *conn)
{
    if (!conn->working) {
        conn->working = true;
        sc_sp_conn_ref(conn);
        STAILQ_INSERT_TAIL(&conn->hub->work, conn, work);
    }
}

/* True when an aio without a callback that has been submitted is done. */
static bool aio_done(nng_aio *aio)
{
    return nng_aio_count(aio) > 0 || nng_aio_result(aio) != 0;
}

/* ---- Sending ---- */

/* What came of sending, or receiving, without waiting. */
enum outcome { MOVED, LATER, FAILED };

struct moved {
    enum outcome outcome;
    size_t count; /* MOVED: bytes, not 0 */
    const char *why; /* FAILED */
};

/* By the descriptor of the stream, if it is known: what nng would do, in one system call. */
static struct moved moved_by_call(ssize_t count)
{
    if (count > 0) {
        return (struct moved){MOVED, (size_t)count, NULL};
    }
    if (count == 0) {
        return (struct moved){FAILED, 0, nng_strerror(NNG_ECONNSHUT)};
    }
    if (errno == EAGAIN) {
        return (struct moved){.outcome = LATER};
    }
    return (struct moved){FAILED, 0, strerror(errno)};
}

/* By nng. The operation is submitted and at once aborted: nng does what it can while the operation
 * is being submitted, and an abort does nothing to what is done. This saves the thread that a
 * callback would be run on. The wait ends at once, too; it only makes sure that nng is through with
 * the aio when another of its threads has been completing it at the very same time. */
static struct moved move_by_nng(struct sc_sp_conn *conn, void (*submit)(nng_stream *, nng_aio *),
                                void *data, size_t size)
{
    nng_aio *aio = conn->hub->now_aio;
    nng_iov iov = {data, size};
    (void)nng_aio_set_iov(aio, 1, &iov); /* cannot fail for one */
    submit(conn->stream, aio);
    if (!aio_done(aio)) {
        nng_aio_abort(aio, NNG_ECANCELED);
    }
    nng_aio_wait(aio);
    int error = nng_aio_result(aio);
    if (error == NNG_ECANCELED) {
        return (struct moved){.outcome = LATER};
    }
    return error == 0 ? (struct moved){MOVED, nng_aio_count(aio), NULL}
                      : (struct moved){FAILED, 0, nng_strerror(error)};
}

static struct moved send_now(struct sc_sp_conn *conn, struct sc_slice bytes)
{
    if (conn->fd < 0) {
        return move_by_nng(conn, nng_stream_send, (void *)bytes.data, bytes.size);
    }
    ssize_t count;
    do {
        count = send(conn->fd, bytes.data, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    return moved_by_call(count);
}

static struct moved receive_now(struct sc_sp_conn *conn, uint8_t *data, size_t room, int flags)
{
    ssize_t count;
    do {
        count = recv(conn->fd, data, room, MSG_DONTWAIT | flags);
    } while (count < 0 && errno == EINTR);
    return moved_by_call(count);
}

static void count_sent(struct sc_sp_conn *conn, size_t sent)
{
    assert(sent <= conn->wire.size - conn->wire_sent);
    conn->wire_sent += sent;
    conn->traffic->bytes_out += sent;
    conn->since_ms = conn->hub->now_ms;
    sc_sp_conn_weigh(conn);
}

static struct sc_slice to_send(const struct sc_sp_conn *conn)
{
    return sc_slice(conn->wire.data + conn->wire_sent, conn->wire.size - conn->wire_sent);
}

/* Sends `wire` as far as possible, then waits for the rest. */
static void send_wire(struct sc_sp_conn *conn)
{
    assert(!conn->dead && !conn->sending);
    while (to_send(conn).size > 0) {
        struct moved sent = send_now(conn, to_send(conn));
        if (sent.outcome == LATER) {
            nng_iov iov = {(void *)to_send(conn).data, to_send(conn).size};
            (void)nng_aio_set_iov(conn->send_aio, 1, &iov); /* cannot fail for one */
            conn->sending = true;
            sc_sp_conn_ref(conn);
            nng_stream_send(conn->stream, conn->send_aio);
            return;
        }
        if (sent.outcome == FAILED) {
            sc_sp_conn_kill(conn, sent.why);
            return;
        }
        count_sent(conn, sent.count);
    }
    sc_buf_reset(&conn->wire, SC_SP_OUTPUT_KEEP);
    conn->wire_sent = 0;
}

static void send_out(struct sc_sp_conn *conn)
{
    while (!conn->dead && !conn->sending && conn->out.size > 0) {
        struct sc_buf empty = conn->wire;
        conn->wire = conn->out;
        conn->out = empty;
        send_wire(conn);
    }
}

/* Event: a send has ended that could not be done at once. */
static void sent(void *arg)
{
    struct sc_sp_conn *conn = arg;
    conn->sending = false;
    int error = nng_aio_result(conn->send_aio);
    if (!conn->dead && error != 0) {
        sc_sp_conn_kill(conn, nng_strerror(error));
    } else if (!conn->dead) {
        count_sent(conn, nng_aio_count(conn->send_aio));
        send_wire(conn);
    }
    sc_sp_conn_touch(conn);
    sc_sp_hub_ended(conn->hub);
    sc_sp_conn_unref(conn);
}

/* ---- Receiving ---- */

/* True when the peer must not be read from: it does not read what we send, or has too much in
 * flight. */
static bool over(const struct sc_sp_conn *conn)
{
    return output_size(conn) + conn->in_flight >= conn->output_max;
}

/* False when the hub is closing and the peer would only bring new requests. */
static bool takes_requests(const struct sc_sp_conn *conn)
{
    return !conn->hub->closing || conn->peer_protocol == SC_SP_FRAME_REP;
}

static size_t payload_max(const struct sc_sp_conn *conn)
{
    return conn->message_max + SC_SP_FRAME_WORDS_MAX;
}

/* Takes the handshake off the beginning of the input, if it is whole. */
static void handle_handshake(struct sc_sp_conn *conn)
{
    struct sc_slice bytes = sc_sp_input_bytes(&conn->in);
    if (bytes.size < SC_SP_FRAME_HANDSHAKE) {
        return;
    }
    uint16_t protocol;
    if (!sc_sp_frame_handshake_get(bytes.data, &protocol)) {
        sc_sp_conn_kill(conn, "the peer does not speak the SP protocol");
        return;
    }
    if (protocol != conn->peer_protocol) {
        sc_sp_conn_kill(conn, conn->peer_protocol == SC_SP_FRAME_REP
                                  ? "the peer is not an SP server (REP)"
                                  : "the peer is not an SP client (REQ)");
        return;
    }
    sc_sp_input_consume(&conn->in, SC_SP_FRAME_HANDSHAKE);
    conn->open = true;
    conn->ops->opened(conn);
}

static void handle_frame(struct sc_sp_conn *conn, struct sc_slice payload)
{
    uint32_t words = 0;
    switch (sc_sp_frame_header(payload, &words)) {
    case SC_SP_FRAME_HEADER_OK:
        if (payload.size - 4 * (size_t)words > conn->message_max) {
            sc_sp_conn_kill(conn, "a message over the limit");
            return;
        }
        conn->ops->message(conn, payload, words);
        return;
    case SC_SP_FRAME_HEADER_DROP:
        return;
    case SC_SP_FRAME_HEADER_BAD:
        sc_sp_conn_kill(conn, "a frame without a request id");
        return;
    }
}

/* Handles whole frames at the beginning of the input, as many as the limit for output permits. */
static void handle_input(struct sc_sp_conn *conn)
{
    conn->unread = false;
    if (!conn->open) {
        handle_handshake(conn);
    }
    while (conn->open && !conn->dead) {
        if (over(conn) || !takes_requests(conn)) {
            conn->unread = true;
            return;
        }
        struct sc_slice bytes = sc_sp_input_bytes(&conn->in);
        struct sc_slice payload;
        size_t total;
        enum sc_sp_frame_found found = sc_sp_frame_find(bytes.data, bytes.size, conn->ipc,
                                                        payload_max(conn), &payload, &total);
        conn->in.need = found == SC_SP_FRAME_PART ? total : 0;
        if (found == SC_SP_FRAME_BAD) {
            sc_sp_conn_kill(conn, "no frame, or a message over the limit");
        }
        if (found != SC_SP_FRAME_WHOLE) {
            return;
        }
        conn->since_ms = conn->hub->now_ms;
        conn->hub->stirred = true;
        handle_frame(conn, payload);
        sc_sp_input_consume(&conn->in, total);
    }
}

/*
 * A receive uses an aio that has no callback, so that no thread is woken when its bytes come. As
 * long as a thread is draining events anyway it looks itself whether the receive is done: the
 * connection is "watched". Before that thread leaves, it submits a second receive, of nothing,
 * which stands behind the first and whose callback tells that the first is done.
 *
 * This relies on libnng taking receives in order, as 1.5.2 does on tcp and ipc. Should one of
 * nothing ever come back too early, `received` sees it, and the hub receives plainly from then on,
 * with a callback.
 */
static void receive(struct sc_sp_conn *conn)
{
    assert(!conn->dead && !conn->receiving && !conn->watched);
    nng_iov iov;
    iov.iov_buf = sc_sp_input_room(&conn->in, &iov.iov_len);
    conn->receiving_aio = conn->hub->plain ? conn->wake_aio : conn->receive_aio;
    (void)nng_aio_set_iov(conn->receiving_aio, 1, &iov); /* cannot fail for one */
    conn->receiving = true;
    sc_sp_conn_ref(conn);
    nng_stream_recv(conn->stream, conn->receiving_aio);
    if (!conn->hub->plain) {
        begin_watch(conn);
    }
}

/* With the descriptor the poller tells of the end, and whoever serves receives the bytes. */
static bool watched_receive_done(const struct sc_sp_conn *conn)
{
    return conn->fd < 0 && aio_done(conn->receiving_aio);
}

void sc_sp_conn_collect(struct sc_sp_conn *conn)
{
    if (watched_receive_done(conn)) {
        end_watch(conn);
        sc_sp_event_queue(&conn->received);
    }
}

void sc_sp_conn_leave(struct sc_sp_conn *conn)
{
    end_watch(conn);
    if (conn->fd >= 0) {
        sc_sp_poller_look_out(conn, true); /* tells again of what has not been received */
    } else {
        nng_stream_recv(conn->stream, conn->wake_aio);
    }
}

void sc_sp_conn_hold(struct sc_sp_conn *conn)
{
    if (conn->fd >= 0 && !conn->watched) {
        sc_sp_poller_look_out(conn, false);
        begin_watch(conn);
    }
}

static void count_received(struct sc_sp_conn *conn, size_t received)
{
    sc_sp_input_received(&conn->in, received);
    if (conn->period != conn->hub->period) {
        conn->period = conn->hub->period;
        conn->hub->active++;
    }
    conn->traffic->bytes_in += received;
    conn->in_progress += received;
    if (conn->in_progress >= SC_SP_PROGRESS) {
        conn->in_progress = 0;
        conn->since_ms = conn->hub->now_ms;
    }
}

/* Event: a receive has ended. */
static void received(void *arg)
{
    struct sc_sp_conn *conn = arg;
    nng_aio *aio = conn->receiving_aio;
    if (aio == conn->receive_aio && !aio_done(aio)) {
        conn->hub->plain = true;
        nng_aio_abort(aio, NNG_ECANCELED);
    }
    if (aio == conn->receive_aio) {
        nng_aio_wait(aio); /* returns at once, when nng is through with it */
    }
    conn->receiving = false;
    int error = nng_aio_result(aio);
    if (!conn->dead && error == 0) {
        count_received(conn, nng_aio_count(aio));
        handle_input(conn);
    } else if (!conn->dead && error == NNG_ECANCELED) {
        /* The sweep wants the buffer back; what is left of a frame stays. */
        sc_sp_input_trim(&conn->in);
    } else if (!conn->dead) {
        sc_sp_conn_kill(conn, nng_strerror(error));
    }
    sc_sp_conn_touch(conn);
    sc_sp_conn_unref(conn);
}

/* The poller may not have come to say that a connection has ended. */
static void check_end(struct sc_sp_conn *conn)
{
    uint8_t byte;
    struct moved seen = receive_now(conn, &byte, 1, MSG_PEEK);
    if (seen.outcome == FAILED) {
        sc_sp_conn_kill(conn, seen.why);
    }
}

void sc_sp_conn_check(struct sc_sp_conn *conn)
{
    if (conn->fd >= 0) {
        check_end(conn);
    } else if (watched_receive_done(conn)) {
        end_watch(conn);
        received(conn);
    }
}

/* Receives what a connection has ready that the poller watches. Nothing waits in nng afterwards. */
static void receive_ready(struct sc_sp_conn *conn)
{
    assert(!conn->dead && conn->ready);
    size_t room;
    uint8_t *data = sc_sp_input_room(&conn->in, &room);
    struct moved got = receive_now(conn, data, room, 0);
    if (got.outcome == LATER || (got.count < room && !conn->ended)) {
        conn->ready = false;
    }
    if (got.outcome == MOVED) {
        count_received(conn, got.count);
        handle_input(conn);
    } else if (got.outcome == FAILED) {
        sc_sp_conn_kill(conn, got.why);
    }
    sc_sp_conn_touch(conn);
}

/* ---- Work ---- */

static bool can_receive(const struct sc_sp_conn *conn)
{
    bool possible = conn->fd >= 0 ? conn->ready : !conn->receiving;
    return possible && !conn->dead && !conn->served && !conn->unread && !over(conn) &&
           takes_requests(conn);
}

/* Waits until there is something to receive, the end, or a tick is over: a request may have run out
 * of time. The descriptor stays open as long as the connection is `receiving`. */
static void serve_by_poll(struct sc_sp_conn *conn)
{
    struct pollfd wanted = {.fd = conn->fd, .events = POLLIN};
    conn->receiving = true;
    pthread_mutex_unlock(&conn->hub->lock);
    int count = poll(&wanted, 1, SC_SP_TICK_MS);
    sc_sp_hub_lock(conn->hub);
    conn->receiving = false;
    conn->ready = conn->ready || count > 0;
    sc_sp_conn_touch(conn); /* to be received from, or, if it has died, released */
}

static void serve_by_nng(struct sc_sp_conn *conn)
{
    end_watch(conn);
    pthread_mutex_unlock(&conn->hub->lock);
    nng_aio_wait(conn->receive_aio);
    sc_sp_hub_lock(conn->hub);
    received(conn);
}

void sc_sp_conn_serve(struct sc_sp_conn *conn)
{
    conn->served = true;
    sc_sp_hub_leave(conn->hub); /* the others */
    if (conn->fd >= 0) {
        serve_by_poll(conn);
    } else {
        serve_by_nng(conn);
    }
    conn->served = false;
}

void sc_sp_conn_ready(struct sc_sp_conn *conn, bool ended)
{
    conn->ready = true;
    conn->ended = conn->ended || ended;
    if (can_receive(conn)) {
        receive_ready(conn);
    }
}

void sc_sp_conn_work(struct sc_sp_conn *conn)
{
    assert(conn->working);
    conn->working = false;
    send_out(conn);
    if (conn->dead) {
        release(conn);
    } else if (conn->unread && !over(conn) && takes_requests(conn)) {
        handle_input(conn);
        sc_sp_conn_touch(conn);
    } else if (can_receive(conn) && !conn->arming) {
        conn->arming = true;
        sc_sp_conn_ref(conn);
        STAILQ_INSERT_TAIL(&conn->hub->arm, conn, arm);
    }
    sc_sp_conn_unref(conn);
}

void sc_sp_conn_arm(struct sc_sp_conn *conn)
{
    assert(conn->arming);
    conn->arming = false;
    if (can_receive(conn) && conn->fd >= 0) {
        receive_ready(conn);
    } else if (can_receive(conn)) {
        receive(conn);
    }
    sc_sp_conn_unref(conn);
}

/* A connection at rest keeps little memory. */
static void trim(struct sc_sp_conn *conn)
{
    if (conn->out.size == 0) {
        sc_buf_fini(&conn->out);
    }
    if (!conn->sending) {
        sc_buf_fini(&conn->wire);
    }
    if (conn->fd >= 0 && sc_sp_input_trimmable(&conn->in)) {
        sc_sp_input_trim(&conn->in);
    } else if (conn->receiving && sc_sp_input_trimmable(&conn->in)) {
        nng_aio_abort(conn->receive_aio, NNG_ECANCELED);
        nng_aio_abort(conn->wake_aio, NNG_ECANCELED);
    }
}

void sc_sp_conn_sweep(struct sc_sp_conn *conn)
{
    uint64_t now = conn->hub->now_ms;
    if (conn->dead) {
        return;
    }
    if (!conn->open) {
        if (now >= conn->deadline_ms) {
            sc_sp_conn_kill(conn, "no SP handshake in time");
        }
        return;
    }
    uint64_t silent_ms = now > conn->since_ms ? now - conn->since_ms : 0;
    if (conn->idle_ms > 0 && silent_ms > conn->idle_ms && conn->origins == 0) {
        sc_sp_conn_kill(conn, "silent for too long");
    } else if (silent_ms > SC_SP_TRIM_MS) {
        trim(conn);
    }
}

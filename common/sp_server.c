#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/sp_internal.h"

/* ---- Connections of a listener ---- */

static void server_opened(struct sc_sp_conn *conn)
{
    (void)conn;
}

static void server_message(struct sc_sp_conn *conn, struct sc_slice payload, uint32_t words)
{
    struct sc_sp_listener *listener = conn->owner;
    size_t header = 4 * (size_t)words;
    struct sc_sp_origin origin = {.conn = conn, .words = words};
    size_t cost = payload.size + SC_SP_REQUEST_COST;
    origin.cost = cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
    memcpy(origin.header, payload.data, header);
    sc_sp_conn_ref(conn);
    conn->origins++;
    conn->in_flight += origin.cost;
    listener->counts.requests++;
    listener->options.on_request(
        listener->options.arg, &origin,
        sc_slice((const uint8_t *)payload.data + header, payload.size - header));
}

static void server_died(struct sc_sp_conn *conn, const char *why)
{
    struct sc_sp_listener *listener = conn->owner;
    listener->counts.connections--;
    if (!conn->open) {
        listener->counts.refused++;
    }
    sc_log_debug("connection to %s ended: %s", listener->url, why);
}

static const struct sc_sp_owner_ops server_ops = {server_opened, server_message, server_died};

/* ---- Replies ---- */

struct sc_buf *sc_sp_reply_begin(const struct sc_sp_origin *origin)
{
    struct sc_sp_conn *conn = origin->conn;
    if (conn->dead) {
        return &conn->hub->sink;
    }
    conn->frame_begin = sc_sp_frame_begin(&conn->out, conn->ipc,
                                          sc_slice(origin->header, 4 * (size_t)origin->words));
    return &conn->out;
}

void sc_sp_reply_end(const struct sc_sp_origin *origin)
{
    struct sc_sp_conn *conn = origin->conn;
    if (conn->dead) {
        sc_buf_reset(&conn->hub->sink, SC_SP_OUTPUT_KEEP);
    } else {
        sc_sp_frame_end(&conn->out, conn->ipc, conn->frame_begin);
        sc_sp_conn_weigh(conn);
    }
    sc_sp_drop(origin);
}

void sc_sp_reply(const struct sc_sp_origin *origin, struct sc_slice body)
{
    if (!origin->conn->dead) {
        sc_buf_append_slice(sc_sp_reply_begin(origin), body);
    }
    sc_sp_reply_end(origin);
}

void sc_sp_drop(const struct sc_sp_origin *origin)
{
    struct sc_sp_conn *conn = origin->conn;
    assert(conn->origins > 0 && conn->in_flight >= origin->cost);
    conn->origins--;
    conn->in_flight -= origin->cost;
    if (!conn->dead) {
        sc_sp_conn_touch(conn);
    }
    sc_sp_conn_unref(conn);
}

void sc_sp_charge(struct sc_sp_origin *origin, size_t bytes)
{
    uint32_t room = UINT32_MAX - origin->cost;
    uint32_t more = bytes < room ? (uint32_t)bytes : room;
    origin->cost += more;
    origin->conn->in_flight += more;
}

bool sc_sp_stuffed(const struct sc_sp_origin *origin)
{
    return origin->conn->stuffed;
}

bool sc_sp_gone(const struct sc_sp_origin *origin)
{
    return origin->conn->dead;
}

uint64_t sc_sp_number(const struct sc_sp_origin *origin)
{
    return origin->conn->number;
}

/* ---- Accepting ---- */

static void accept_next(struct sc_sp_listener *listener)
{
    if (!listener->stopped && !listener->accepting && listener->retry_ms == 0) {
        listener->accepting = true;
        nng_stream_listener_accept(listener->stream, listener->accept_aio);
    }
}

static void take_connection(struct sc_sp_listener *listener, nng_stream *stream)
{
    struct sc_sp_hub *hub = listener->hub;
    listener->counts.accepted++;
    if (hub->closing || listener->stopped ||
        listener->counts.connections >= listener->options.connections_max) {
        listener->counts.refused++;
        nng_stream_close(stream);
        nng_stream_free(stream);
        return;
    }
    struct sc_sp_conn_setup setup = {
        .ops = &server_ops,
        .owner = listener,
        .traffic = &listener->traffic,
        .stream = stream,
        .ipc = listener->ipc,
        .protocol = SC_SP_FRAME_REP,
        .output_max = listener->options.output_max,
        .message_max = listener->options.message_max,
        .handshake_ms = listener->options.handshake_ms,
        .idle_ms = listener->options.idle_ms,
    };
    if (sc_sp_conn_open(hub, &setup) == NULL) {
        listener->counts.refused++;
    } else {
        listener->counts.connections++;
    }
}

/* Event: a connection has come in, or accepting failed. */
static void accepted(void *arg)
{
    struct sc_sp_listener *listener = arg;
    struct sc_sp_hub *hub = listener->hub;
    listener->accepting = false;
    int error = nng_aio_result(listener->accept_aio);
    if (error == 0) {
        listener->failing = false;
        take_connection(listener, nng_aio_get_output(listener->accept_aio, 0));
    } else if (!listener->stopped) {
        /* Most likely out of descriptors: some may be free in a moment. */
        if (!listener->failing) {
            sc_log_warn("cannot accept connections on %s for now: %s", listener->url,
                        nng_strerror(error));
        }
        listener->failing = true;
        listener->retry_ms = sc_clock_mono_ms() + SC_SP_ACCEPT_PAUSE_MS;
        sc_sp_caretaker_wake_at(hub, listener->retry_ms);
    }
    accept_next(listener);
    sc_sp_hub_ended(hub);
}

void sc_sp_listener_sweep(struct sc_sp_listener *listener)
{
    if (listener->retry_ms != 0 && listener->hub->now_ms >= listener->retry_ms) {
        listener->retry_ms = 0;
        accept_next(listener);
    } else if (listener->retry_ms != 0) {
        sc_sp_caretaker_wake_at(listener->hub, listener->retry_ms);
    }
}

/* ---- Listeners ---- */

/* nng takes over a socket file that nobody listens on, but would remove any other file as well. */
static enum sc_status check_socket_file(const char *url, char *why)
{
    const char *path = url + strlen("ipc://");
    struct stat status;
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        return sc_fail(why, SC_IO,
                       "cannot listen on %s: there is a file of that name that is not "
                       "a socket",
                       url);
    }
    return SC_OK;
}

static enum sc_status listen_failed(const char *url, int error, char *why)
{
    if (error == NNG_EADDRINUSE) {
        return sc_fail(why, SC_IO,
                       "cannot listen on %s: another process listens there; stop it or "
                       "choose another address",
                       url);
    }
    return sc_fail(why, SC_IO, "cannot listen on %s: %s", url,
                   error == NNG_ENOENT       ? "its directory does not exist"
                   : error == NNG_EADDRINVAL ? "this machine has no such address"
                                             : nng_strerror(error));
}

static enum sc_status start_listening(struct sc_sp_listener *listener, char *why)
{
    const struct sc_sp_listener_options *options = &listener->options;
    int error = nng_stream_listener_alloc(&listener->stream, options->url);
    if (error != 0) {
        return listen_failed(options->url, error, why);
    }
    if (listener->ipc) {
        enum sc_status status = check_socket_file(options->url, why);
        if (status != SC_OK) {
            return status;
        }
        error = nng_stream_listener_set_int(listener->stream, NNG_OPT_IPC_PERMISSIONS,
                                            (int)options->ipc_permissions);
    } else {
        (void)nng_stream_listener_set_bool(listener->stream, NNG_OPT_TCP_NODELAY, true);
        (void)nng_stream_listener_set_bool(listener->stream, NNG_OPT_TCP_KEEPALIVE, true);
    }
    if (error == 0) {
        error = nng_stream_listener_listen(listener->stream);
    }
    if (error == 0) {
        error = nng_aio_alloc(&listener->accept_aio, sc_sp_event_post, &listener->accepted);
    }
    return error == 0 ? SC_OK : listen_failed(options->url, error, why);
}

/* The address with the port that the system chose. */
static void name_listener(struct sc_sp_listener *listener)
{
    const char *url = listener->options.url;
    int port;
    if (listener->ipc ||
        nng_stream_listener_get_int(listener->stream, NNG_OPT_TCP_BOUND_PORT, &port) != 0) {
        snprintf(listener->url, sizeof listener->url, "%s", url);
        return;
    }
    const char *colon = strrchr(url, ':');
    snprintf(listener->url, sizeof listener->url, "%.*s:%d", (int)(colon - url), url, port);
}

static void default_options(struct sc_sp_listener_options *options)
{
    if (options->connections_max == 0) {
        options->connections_max = SC_CONNECTIONS_DEFAULT;
    }
    if (options->handshake_ms == 0) {
        options->handshake_ms = SC_SP_HANDSHAKE_MS;
    }
    if (options->ipc_permissions == 0) {
        options->ipc_permissions = 0600;
    }
    if (options->output_max == 0) {
        options->output_max = SC_SP_OUTPUT_DEFAULT;
    }
}

enum sc_status sc_sp_listen(struct sc_sp_hub *hub, const struct sc_sp_listener_options *options,
                            struct sc_sp_listener **listener, char *why)
{
    enum sc_status status = sc_sp_url_check(options->url, true, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_sp_listener *new = sc_calloc(1, sizeof *new);
    new->hub = hub;
    new->options = *options;
    new->ipc = sc_sp_url_is_ipc(options->url);
    default_options(&new->options);
    if (new->options.message_max == 0) {
        new->options.message_max = hub->options.message_max;
    }
    sc_sp_event_init(&new->accepted, hub, accepted, new);
    status = start_listening(new, why);
    if (status != SC_OK) {
        sc_sp_listener_free(new);
        return status;
    }
    name_listener(new);
    new->options.url = new->url;

    sc_sp_hub_lock(hub);
    LIST_INSERT_HEAD(&hub->listeners, new, all);
    accept_next(new);
    sc_sp_hub_unlock(hub);
    *listener = new;
    return SC_OK;
}

const char *sc_sp_listener_url(const struct sc_sp_listener *listener)
{
    return listener->url;
}

void sc_sp_listener_stop(struct sc_sp_listener *listener)
{
    sc_sp_hub_lock(listener->hub);
    listener->stopped = true;
    listener->retry_ms = 0;
    nng_stream_listener_close(listener->stream);
    sc_sp_hub_unlock(listener->hub);
}

void sc_sp_listener_add_counts(const struct sc_sp_listener *listener,
                               struct sc_sp_listener_counts *counts)
{
    counts->connections += listener->counts.connections;
    counts->accepted += listener->counts.accepted;
    counts->refused += listener->counts.refused;
    counts->requests += listener->counts.requests;
    counts->bytes_in += listener->traffic.bytes_in;
    counts->bytes_out += listener->traffic.bytes_out;
}

void sc_sp_listener_free(struct sc_sp_listener *listener)
{
    nng_stream_listener_free(listener->stream);
    nng_aio_free(listener->accept_aio);
    free(listener);
}

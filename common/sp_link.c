#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/sp_internal.h"

#define ID_BIT UINT32_C(0x80000000)
#define PENDING_MIN 64u
#define RECONNECT_MIN_MS 20u
#define RECONNECT_MAX_MS 1000u

/* ---- Requests in flight ---- */

static struct sc_sp_pending *pending_at(struct sc_sp_link *link, uint32_t id)
{
    return &link->pending[id & (link->pending_size - 1)];
}

static void pending_grow(struct sc_sp_link *link)
{
    struct sc_sp_pending *old = link->pending;
    size_t old_size = link->pending_size;
    link->pending_size = old_size == 0 ? PENDING_MIN : 2 * old_size;
    link->pending = sc_calloc(link->pending_size, sizeof *link->pending);
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].id != 0) {
            *pending_at(link, old[i].id) = old[i];
        }
    }
    free(old);
}

/* A new id, whose place in the table is free: the table is at most half full, and whatever has
 * been in flight for long is skipped. */
static struct sc_sp_pending *pending_add(struct sc_sp_link *link)
{
    if (2 * (link->pending_count + 1) > link->pending_size) {
        pending_grow(link);
    }
    struct sc_sp_pending *pending;
    uint32_t id;
    do {
        id = link->next_id++ | ID_BIT;
        pending = pending_at(link, id);
    } while (pending->id != 0);
    pending->id = id;
    link->pending_count++;
    return pending;
}

/* Takes a request out of the table and tells its end. */
static void pending_end(struct sc_sp_link *link, struct sc_sp_pending *pending,
                        enum sc_status status, struct sc_slice body)
{
    void *tag = pending->tag;
    *pending = (struct sc_sp_pending){0};
    link->pending_count--;
    link->hub->stirred = true;
    link->options.on_reply(link->options.arg, tag, status, body);
}

/* Callbacks may send on other links, and on this one only while it is up; it is not. */
static void pending_end_all(struct sc_sp_link *link)
{
    assert(!link->up);
    for (size_t i = 0; i < link->pending_size && link->pending_count > 0; i++) {
        if (link->pending[i].id != 0) {
            pending_end(link, &link->pending[i], SC_UNKNOWN, sc_slice(NULL, 0));
        }
    }
}

/* ---- The connection of a link ---- */

/* Has the link looked at before the lock is released. */
static void link_touch(struct sc_sp_link *link)
{
    if (!link->working) {
        link->working = true;
        STAILQ_INSERT_TAIL(&link->hub->link_work, link, work);
    }
}

static void link_opened(struct sc_sp_conn *conn)
{
    struct sc_sp_link *link = conn->owner;
    link->up = true;
    link->up_since_ms = sc_clock_mono_ms();
    link->why[0] = '\0';
    link_touch(link);
}

static void link_message(struct sc_sp_conn *conn, struct sc_slice payload, uint32_t words)
{
    struct sc_sp_link *link = conn->owner;
    if (words != 1 || link->pending_count == 0) {
        return; /* an answer to nothing that we sent, or too late */
    }
    const uint8_t *data = payload.data;
    uint32_t id = sc_be32_get(data);
    struct sc_sp_pending *pending = pending_at(link, id);
    if (pending->id == id) {
        pending_end(link, pending, SC_OK, sc_slice(data + 4, payload.size - 4));
    }
}

static void link_died(struct sc_sp_conn *conn, const char *why)
{
    struct sc_sp_link *link = conn->owner;
    link->conn = NULL;
    snprintf(link->why, sizeof link->why, "%s %s: %s",
             link->up ? "lost the connection to" : "cannot connect to", link->url, why);
    link->up = false;
    link_touch(link);
}

static const struct sc_sp_owner_ops link_ops = {link_opened, link_message, link_died};

/* ---- Dialling ---- */

static void dial(struct sc_sp_link *link)
{
    assert(!link->closed && !link->dialling && link->conn == NULL);
    link->redial_ms = 0;
    link->dialling = true;
    nng_stream_dialer_dial(link->dialer, link->dial_aio);
}

/* Waits between half and the whole of the back-off, so that many clients of a server that comes
 * back do not arrive at once. */
static void plan_redial(struct sc_sp_link *link)
{
    uint64_t now = sc_clock_mono_ms();
    if (link->up_since_ms != 0 && now - link->up_since_ms >= link->options.reconnect_max_ms) {
        link->backoff_ms = link->options.reconnect_min_ms; /* it had been well */
    }
    link->up_since_ms = 0;
    uint64_t wait = link->backoff_ms / 2 +
                    sc_sp_hub_random(link->hub) % (link->backoff_ms - link->backoff_ms / 2 + 1);
    link->redial_ms = now + wait;
    link->backoff_ms = link->backoff_ms > link->options.reconnect_max_ms / 2
                           ? link->options.reconnect_max_ms
                           : 2 * link->backoff_ms;
    sc_sp_caretaker_wake_at(link->hub, link->redial_ms);
}

/* Hands a closed link to whoever frees it, once nng has let go of it. */
static void end_if_closed(struct sc_sp_link *link)
{
    if (link->closed && !link->dialling && link->conn == NULL && !link->working) {
        struct sc_sp_hub *hub = link->hub;
        LIST_REMOVE(link, all);
        LIST_INSERT_HEAD(&hub->ended, link, all);
        sc_sp_caretaker_wake_at(hub, 0);
        sc_sp_hub_ended(hub);
    }
}

static void take_connection(struct sc_sp_link *link, nng_stream *stream)
{
    struct sc_sp_conn_setup setup = {
        .ops = &link_ops,
        .owner = link,
        .traffic = &link->traffic,
        .stream = stream,
        .ipc = link->ipc,
        .protocol = SC_SP_FRAME_REQ,
        .output_max = SIZE_MAX,
        .message_max = link->hub->options.message_max,
        .handshake_ms = link->options.handshake_ms,
    };
    link->conn = sc_sp_conn_open(link->hub, &setup);
    if (link->conn == NULL) {
        snprintf(link->why, sizeof link->why, "cannot connect to %s: out of memory", link->url);
        link_touch(link);
    }
}

/* Event: connected, or failed to. */
static void dialled(void *arg)
{
    struct sc_sp_link *link = arg;
    link->dialling = false;
    int error = nng_aio_result(link->dial_aio);
    nng_stream *stream = error == 0 ? nng_aio_get_output(link->dial_aio, 0) : NULL;
    if (link->closed && stream != NULL) {
        nng_stream_close(stream);
        nng_stream_free(stream);
    } else if (!link->closed && stream != NULL) {
        take_connection(link, stream);
    } else if (!link->closed) {
        snprintf(link->why, sizeof link->why, "cannot connect to %s: %s", link->url,
                 error == NNG_EADDRINVAL ? "no machine of that name is known"
                                         : nng_strerror(error));
        link_touch(link);
    }
    end_if_closed(link);
}

void sc_sp_link_work(struct sc_sp_link *link)
{
    assert(link->working);
    link->working = false;
    if (link->closed) {
        end_if_closed(link);
        return;
    }
    if (!link->up) {
        pending_end_all(link);
    }
    if (link->told_up != link->up && !link->closed) {
        link->told_up = link->up;
        link->hub->stirred = true;
        link->options.on_state(link->options.arg, link->up ? SC_SP_UP : SC_SP_DOWN, link->why);
    }
    if (!link->closed && link->conn == NULL && !link->dialling && link->redial_ms == 0) {
        plan_redial(link);
    }
}

void sc_sp_link_sweep(struct sc_sp_link *link)
{
    uint64_t now = link->hub->now_ms;
    for (size_t i = 0; i < link->pending_size && link->pending_count > 0; i++) {
        struct sc_sp_pending *pending = &link->pending[i];
        if (pending->id != 0 && pending->deadline_ms != 0 && now >= pending->deadline_ms) {
            pending_end(link, pending, SC_UNKNOWN, sc_slice(NULL, 0));
        }
    }
    if (link->closed || link->redial_ms == 0) {
        return;
    }
    if (now >= link->redial_ms) {
        dial(link);
    } else {
        sc_sp_caretaker_wake_at(link->hub, link->redial_ms);
    }
}

/* ---- Links ---- */

static void default_options(struct sc_sp_link_options *options)
{
    if (options->reconnect_min_ms == 0) {
        options->reconnect_min_ms = RECONNECT_MIN_MS;
    }
    if (options->reconnect_max_ms == 0) {
        options->reconnect_max_ms = RECONNECT_MAX_MS;
    }
    if (options->reconnect_max_ms < options->reconnect_min_ms) {
        options->reconnect_max_ms = options->reconnect_min_ms;
    }
    if (options->handshake_ms == 0) {
        options->handshake_ms = SC_SP_HANDSHAKE_MS;
    }
}

enum sc_status sc_sp_dial_locked(struct sc_sp_hub *hub, const struct sc_sp_link_options *options,
                                 struct sc_sp_link **link, char *why)
{
    enum sc_status status = sc_sp_url_check(options->url, false, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_sp_link *new = sc_calloc(1, sizeof *new);
    new->hub = hub;
    new->options = *options;
    snprintf(new->url, sizeof new->url, "%s", options->url);
    new->options.url = new->url;
    new->ipc = sc_sp_url_is_ipc(new->url);
    default_options(&new->options);
    sc_sp_event_init(&new->dialled, hub, dialled, new);
    new->backoff_ms = new->options.reconnect_min_ms;
    int error = nng_stream_dialer_alloc(&new->dialer, new->url);
    if (error == 0) {
        error = nng_aio_alloc(&new->dial_aio, sc_sp_event_post, &new->dialled);
    }
    if (error != 0) {
        sc_sp_link_free(new);
        return sc_fail(why, SC_BADREQUEST, "cannot use the address %s: %s", options->url,
                       nng_strerror(error));
    }
    if (!new->ipc) {
        (void)nng_stream_dialer_set_bool(new->dialer, NNG_OPT_TCP_NODELAY, true);
        (void)nng_stream_dialer_set_bool(new->dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    new->next_id = (uint32_t)sc_sp_hub_random(hub);
    LIST_INSERT_HEAD(&hub->links, new, all);
    *link = new; /* before any callback can ask for it */
    dial(new);
    return SC_OK;
}

enum sc_status sc_sp_dial(struct sc_sp_hub *hub, const struct sc_sp_link_options *options,
                          struct sc_sp_link **link, char *why)
{
    sc_sp_hub_lock(hub);
    enum sc_status status = sc_sp_dial_locked(hub, options, link, why);
    sc_sp_hub_unlock(hub);
    return status;
}

void sc_sp_link_close(struct sc_sp_link *link)
{
    if (link == NULL || link->closed) {
        return;
    }
    link->closed = true;
    link->up = false;
    link->redial_ms = 0;
    pending_end_all(link);
    if (link->conn != NULL) {
        sc_sp_conn_kill(link->conn, "closed");
    }
    if (link->dialling) {
        nng_aio_abort(link->dial_aio, NNG_ECANCELED);
    }
    link_touch(link);
}

void sc_sp_link_free(struct sc_sp_link *link)
{
    nng_stream_dialer_free(link->dialer);
    nng_aio_free(link->dial_aio);
    free(link->pending);
    free(link);
}

bool sc_sp_link_up(const struct sc_sp_link *link)
{
    return link->up;
}

const char *sc_sp_link_why(const struct sc_sp_link *link)
{
    return link->why;
}

void sc_sp_link_reset(struct sc_sp_link *link, const char *why)
{
    if (link->conn != NULL) {
        sc_sp_conn_kill(link->conn, why);
    }
}

void sc_sp_link_nudge(struct sc_sp_link *link)
{
    if (link->conn != NULL && link->conn->served && link->conn->fd < 0) {
        nng_aio_abort(link->conn->receive_aio, NNG_ECANCELED);
    }
}

void sc_sp_link_check(struct sc_sp_link *link)
{
    if (link->conn != NULL && link->conn->watched && sc_sp_link_rests(link->conn)) {
        sc_sp_conn_check(link->conn);
    }
}

bool sc_sp_link_rests(const struct sc_sp_conn *conn)
{
    if (conn->ops != &link_ops || conn->dead || !conn->open) {
        return false;
    }
    const struct sc_sp_link *link = conn->owner;
    return link->pending_count == 0;
}

size_t sc_sp_link_in_flight(const struct sc_sp_link *link)
{
    return link->pending_count;
}

/* ---- Sending ---- */

struct sc_buf *sc_sp_send_begin(struct sc_sp_link *link, void *tag, uint32_t timeout_ms)
{
    assert(link->up);
    struct sc_sp_conn *conn = link->conn;
    struct sc_sp_pending *pending = pending_add(link);
    pending->tag = tag;
    pending->deadline_ms = timeout_ms == 0 ? 0 : sc_clock_mono_ms() + timeout_ms;
    uint8_t id[4];
    sc_be32_put(id, pending->id);
    conn->frame_begin = sc_sp_frame_begin(&conn->out, conn->ipc, sc_slice(id, sizeof id));
    return &conn->out;
}

void sc_sp_send_end(struct sc_sp_link *link)
{
    struct sc_sp_conn *conn = link->conn;
    sc_sp_frame_end(&conn->out, conn->ipc, conn->frame_begin);
    sc_sp_conn_touch(conn);
}

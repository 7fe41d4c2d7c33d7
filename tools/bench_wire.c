#include "tools/bench_wire.h"

#include "common/bytes.h"
#include "common/clock.h"
#include "tools/bench_load.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* After the end of a run, and before its first connections: how long to wait. */
#define PATIENCE_MS 15000

#define RECEIVE_SIZE (64u << 10)
#define EVENTS_MAX 256

struct connection {
    int fd; /* -1: broken */
    bool ipc;
    struct sc_buf out; /* what is left to send */
    size_t sent;
    bool writing; /* waits until more can be sent */
    struct sc_buf in;
    uint64_t begun_ns; /* the message outstanding; 0: none */
    struct sc_bench_load load;
};

struct sc_bench_wire {
    struct sc_bench_run *run;
    struct sc_bench_tally *tally;
    int epoll_fd;
    uint64_t count;
    uint64_t outstanding;
    struct connection *connections;
};

/* ---- Connecting ---- */

static enum sc_status dial_ipc(const char *path, int *fd, char *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return sc_fail(why, SC_BADREQUEST, "the path %s is too long for a socket", path);
    }
    (void)memcpy(address.sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || connect(*fd, (struct sockaddr *)&address, sizeof address) != 0) {
        return sc_fail(why, SC_UNAVAILABLE, "cannot connect to ipc://%s: %s", path,
                       strerror(errno));
    }
    return SC_OK;
}

/* Splits host:port or [host]:port. */
static bool split_address(const char *address, char host[256], const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon != NULL ? (size_t)(colon - address) : 0;
    if (size > 1 && address[0] == '[' && colon[-1] == ']') {
        address++;
        size -= 2;
    }
    if (size == 0 || size > 255) {
        return false;
    }
    (void)memcpy(host, address, size);
    host[size] = '\0';
    *port = colon + 1;
    return true;
}

static enum sc_status dial_tcp(const char *address, int *fd, char *why)
{
    char host[256];
    const char *port = NULL;
    if (!split_address(address, host, &port)) {
        return sc_fail(why, SC_BADREQUEST, "tcp://%s is no address: tcp://host:port is", address);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0) {
        return sc_fail(why, SC_UNAVAILABLE, "cannot find %s: %s", address, gai_strerror(error));
    }
    int reason = 0;
    for (const struct addrinfo *at = found; at != NULL && *fd < 0; at = at->ai_next) {
        *fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (*fd < 0 || connect(*fd, at->ai_addr, at->ai_addrlen) != 0) {
            reason = errno;
            if (*fd >= 0) {
                (void)close(*fd);
            }
            *fd = -1;
        }
    }
    freeaddrinfo(found);
    if (*fd < 0) {
        return sc_fail(why, SC_UNAVAILABLE, "cannot connect to tcp://%s: %s", address,
                       strerror(reason));
    }
    int yes = 1;
    (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return SC_OK;
}

/* Both sides send eight bytes: we are a REQ, they must be a REP. */
static enum sc_status shake_hands(int fd, char *why)
{
    static const uint8_t ours[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    static const uint8_t theirs[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    uint8_t got[8] = {0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, ours, sizeof ours, MSG_NOSIGNAL) != sizeof ours ||
        recv(fd, got, sizeof got, MSG_WAITALL) != sizeof got ||
        memcmp(got, theirs, sizeof got) != 0) {
        return sc_fail(why, SC_UNAVAILABLE, "whoever listens there does not speak the protocol");
    }
    return SC_OK;
}

static bool owns_some(const struct sc_clustermap *map, size_t shard)
{
    for (size_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (map->owner[slot] == shard) {
            return true;
        }
    }
    return false;
}

/* Connections are dealt out in turn to the shards that own something. */
static uint16_t choose_shard(const struct sc_clustermap *map, uint64_t number)
{
    size_t shard = 0;
    for (uint64_t left = 1 + number; left > 0; shard++) {
        left -= owns_some(map, shard % map->shard_count);
    }
    return (uint16_t)((shard - 1) % map->shard_count);
}

/* Where the connection with this number goes. */
static const char *choose_server(const struct sc_bench_run *run, struct connection *connection,
                                 uint64_t number)
{
    const struct sc_clustermap *map = run->map;
    if (map == NULL) {
        return run->options->url;
    }
    uint16_t shard = choose_shard(map, number);
    sc_bench_load_keep_to(&connection->load, map, shard);
    return map->shards[shard].url;
}

static enum sc_status connect_one(struct sc_bench_wire *wire, struct connection *connection,
                                  const char *url, char *why)
{
    enum sc_status status = SC_OK;
    connection->ipc = strncmp(url, "ipc://", 6) == 0;
    if (strncmp(url, "tcp://", 6) == 0) {
        status = dial_tcp(url + 6, &connection->fd, why);
    } else if (strncmp(url, "ipc://", 6) == 0) {
        status = dial_ipc(url + 6, &connection->fd, why);
    } else {
        return sc_fail(why, SC_BADREQUEST,
                       "--connections speaks to tcp:// and ipc:// addresses only, not to %s; "
                       "--threads and --async to all",
                       url);
    }
    if (status == SC_OK) {
        status = shake_hands(connection->fd, why);
    }
    if (status != SC_OK) {
        return status;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(wire->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        return sc_fail(why, SC_INTERNAL, "epoll_ctl: %s", strerror(errno));
    }
    return SC_OK;
}

enum sc_status sc_bench_wire_open(struct sc_bench_run *run, struct sc_bench_tally *tally,
                                  uint64_t first, uint64_t count, struct sc_bench_wire **wire,
                                  char *why)
{
    struct sc_bench_wire *new = sc_calloc(1, sizeof *new);
    *new = (struct sc_bench_wire){
        .run = run, .tally = tally, .count = count, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    new->connections = sc_calloc((size_t)count, sizeof *new->connections);
    enum sc_status status =
        new->epoll_fd >= 0 ? SC_OK : sc_fail(why, SC_INTERNAL, "epoll: %s", strerror(errno));
    for (uint64_t i = 0; i < count; i++) {
        new->connections[i].fd = -1;
        sc_bench_load_init(&new->connections[i].load, run, first + i);
    }
    for (uint64_t i = 0; i < count && status == SC_OK; i++) {
        struct connection *connection = &new->connections[i];
        status = connect_one(new, connection, choose_server(run, connection, first + i), why);
    }
    if (status != SC_OK) {
        sc_bench_wire_close(new);
        return status;
    }
    *wire = new;
    return SC_OK;
}

void sc_bench_wire_close(struct sc_bench_wire *wire)
{
    if (wire == NULL) {
        return;
    }
    for (uint64_t i = 0; i < wire->count; i++) {
        struct connection *connection = &wire->connections[i];
        if (connection->fd >= 0) {
            (void)close(connection->fd);
        }
        sc_buf_fini(&connection->out);
        sc_buf_fini(&connection->in);
        sc_bench_load_fini(&connection->load);
    }
    if (wire->epoll_fd >= 0) {
        (void)close(wire->epoll_fd);
    }
    free(wire->connections);
    free(wire);
}

/* ---- Driving ---- */

static void break_connection(struct sc_bench_wire *wire, struct connection *connection,
                             const char *why)
{
    sc_bench_error(wire->tally, SC_UNKNOWN, why);
    wire->outstanding -= connection->begun_ns != 0;
    connection->begun_ns = 0;
    (void)close(connection->fd);
    connection->fd = -1;
}

static void watch(const struct sc_bench_wire *wire, struct connection *connection, bool writing)
{
    if (connection->writing == writing) {
        return;
    }
    connection->writing = writing;
    struct epoll_event event = {.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = connection};
    (void)epoll_ctl(wire->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void send_more(struct sc_bench_wire *wire, struct connection *connection)
{
    while (connection->sent < connection->out.size) {
        ssize_t size = send(connection->fd, connection->out.data + connection->sent,
                            connection->out.size - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN) {
            watch(wire, connection, true);
            return;
        }
        if (size < 0) {
            break_connection(wire, connection, strerror(errno));
            return;
        }
        connection->sent += (size_t)size;
    }
    connection->out.size = 0;
    connection->sent = 0;
    watch(wire, connection, false);
}

/* Starts the next message: a length (on ipc behind a byte 1), the request id, the body. */
static void begin_message(struct sc_bench_wire *wire, struct connection *connection)
{
    if (!sc_bench_more(wire->run)) {
        return;
    }
    struct sc_buf *out = &connection->out;
    static const uint8_t one = 1;
    uint8_t head[12] = {0};
    sc_bench_load_next(&connection->load);
    sc_buf_append(out, &one, connection->ipc);
    size_t at = out->size;
    sc_buf_append(out, head, sizeof head);
    sc_bench_load_encode(&connection->load, out);
    sc_be64_put(out->data + at, out->size - at - 8);
    sc_be32_put(out->data + at + 8, UINT32_C(0x80000001));
    connection->begun_ns = sc_clock_mono_ns();
    wire->outstanding++;
    send_more(wire, connection);
}

static void end_message(struct sc_bench_wire *wire, struct connection *connection,
                        struct sc_slice body)
{
    struct sc_bench_tally *tally = wire->tally;
    uint64_t now_ns = sc_clock_mono_ns();
    atomic_store_explicit(&tally->done,
                          atomic_load_explicit(&tally->done, memory_order_relaxed) +
                              connection->load.count,
                          memory_order_relaxed);
    if (atomic_load_explicit(&wire->run->measuring, memory_order_relaxed)) {
        sc_bench_latency_record(&tally->latency, now_ns - connection->begun_ns);
        sc_bench_load_reply(&connection->load, body, tally);
    }
    connection->begun_ns = 0;
    wire->outstanding--;
    begin_message(wire, connection);
}

/* Handles the reply when all of it is there; false when the peer breaks the protocol. */
static bool take_reply(struct sc_bench_wire *wire, struct connection *connection)
{
    struct sc_buf *in = &connection->in;
    size_t prefix = connection->ipc ? 9 : 8;
    if (in->size < prefix) {
        return true;
    }
    uint64_t size = sc_be64_get(in->data + prefix - 8);
    if (size < 5 || size > (UINT64_C(1) << 31) || connection->begun_ns == 0) {
        return false;
    }
    if (in->size - prefix < size) {
        return true;
    }
    if (in->size - prefix > size) {
        return false; /* more than one reply to one request */
    }
    in->size = 0;
    end_message(wire, connection, sc_slice(in->data + prefix + 4, (size_t)size - 4));
    return true;
}

static void receive(struct sc_bench_wire *wire, struct connection *connection)
{
    uint8_t *room = sc_buf_reserve(&connection->in, RECEIVE_SIZE);
    ssize_t size =
        recv(connection->fd, room, connection->in.capacity - connection->in.size, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        break_connection(wire, connection,
                         size == 0 ? "the server closed the connection" : strerror(errno));
        return;
    }
    connection->in.size += (size_t)size;
    if (!take_reply(wire, connection)) {
        break_connection(wire, connection, "the server breaks the protocol");
    }
}

void sc_bench_wire_drive(struct sc_bench_wire *wire)
{
    for (uint64_t i = 0; i < wire->count; i++) {
        begin_message(wire, &wire->connections[i]);
    }
    while (wire->outstanding > 0) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(wire->epoll_fd, events, EVENTS_MAX, PATIENCE_MS);
        if (count == 0) {
            sc_bench_error(wire->tally, SC_UNKNOWN, "no reply for 15 seconds");
            return;
        }
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if ((events[i].events & EPOLLOUT) != 0) {
                send_more(wire, connection);
            }
            if (connection->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                receive(wire, connection);
            }
        }
    }
}

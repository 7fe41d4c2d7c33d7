/*
 * For the tests of the SP transport: an echo server, a client that gathers replies, and a raw
 * socket that speaks SP by hand. A test forks before it uses nng, so each has its own.
 */
#ifndef SC_TESTS_SP_FIXTURE_H
#define SC_TESTS_SP_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/sp.h"
#include "common/sp_descriptor.h"
#include "tests/check_main.h"

#define PATIENCE_MS 20000

static inline void nap(void)
{
    nanosleep(&(struct timespec){0, 2000000}, NULL);
}

/* Waits until `condition` holds, which is evaluated with the hub locked; fails after a while. */
#define ck_eventually(hub, condition)                                \
    do {                                                             \
        uint64_t until_ = sc_clock_mono_ms() + PATIENCE_MS;          \
        bool holds_ = false;                                         \
        while (!holds_ && sc_clock_mono_ms() < until_) {             \
            sc_sp_hub_lock(hub);                                     \
            holds_ = (condition);                                    \
            sc_sp_hub_unlock(hub);                                   \
            if (!holds_) {                                           \
                nap();                                               \
            }                                                        \
        }                                                            \
        ck_assert_msg(holds_, "waited in vain for: %s", #condition); \
    } while (0)

/* ---- A temporary directory for ipc sockets ---- */

static char directory[64];
static char ipc_url[100];

static inline void make_directory(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/sp.XXXXXX",
             base != NULL && strlen(base) < 40 ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(ipc_url, sizeof ipc_url, "ipc://%s/s", directory);
}

static inline void remove_directory(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/s", directory);
    unlink(path);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* The two kinds of address that every test of traffic runs on. */
static inline const char *listen_url(int which)
{
    return which == 0 ? "tcp://127.0.0.1:0" : ipc_url;
}

/* The tests run twice: with SC_TEST_SP_POLLER set the hubs watch their connections themselves. */
static inline sc_sp_descriptor_fn *descriptor(void)
{
    return getenv("SC_TEST_SP_POLLER") != NULL ? sc_sp_descriptor : NULL;
}

/* ---- A server: echoes, or keeps the requests to be answered later ---- */

struct server {
    struct sc_sp_hub *hub;
    struct sc_sp_listener *listener;
    char url[300];
    bool keep; /* keep requests instead of echoing them */
    struct sc_sp_origin kept[4096];
    uint8_t kept_last[4096]; /* fourth byte of each body, the last of its tag */
    size_t kept_count;
    size_t requests, drained;
    atomic_size_t ticks;
    atomic_size_t timers;
};

static inline void server_request(void *arg, const struct sc_sp_origin *origin,
                                  struct sc_slice body)
{
    struct server *server = arg;
    server->requests++;
    if (server->keep) {
        ck_assert_uint_lt(server->kept_count, 4096);
        server->kept_last[server->kept_count] =
            body.size >= 4 ? ((const uint8_t *)body.data)[3] : 0;
        server->kept[server->kept_count++] = *origin;
    } else {
        sc_sp_reply(origin, body);
    }
}

static inline void server_drained(void *arg)
{
    ((struct server *)arg)->drained++;
}

static inline void server_tick(void *arg)
{
    atomic_fetch_add(&((struct server *)arg)->ticks, 1);
}

static inline void server_timer(void *arg)
{
    atomic_fetch_add(&((struct server *)arg)->timers, 1);
}

#define SERVER_MESSAGE_MAX (1u << 20)

static inline struct server *server_start(struct sc_sp_listener_options options)
{
    struct server *server = calloc(1, sizeof *server);
    char why[SC_WHY_SIZE];
    struct sc_sp_hub_options hub = {.message_max = SERVER_MESSAGE_MAX,
                                    .on_drained = server_drained,
                                    .on_tick = server_tick,
                                    .on_timer = server_timer,
                                    .arg = server,
                                    .descriptor = descriptor()};
    ck_assert_int_eq(sc_sp_hub_open(&hub, &server->hub, why), SC_OK);
    options.on_request = server_request;
    options.arg = server;
    ck_assert_msg(sc_sp_listen(server->hub, &options, &server->listener, why) == SC_OK, "%s", why);
    snprintf(server->url, sizeof server->url, "%s", sc_sp_listener_url(server->listener));
    return server;
}

static inline struct server *server_open(const char *url)
{
    return server_start((struct sc_sp_listener_options){.url = url});
}

static inline void server_close(struct server *server)
{
    sc_sp_hub_close(server->hub, 1000);
    free(server);
}

static inline struct sc_sp_listener_counts server_counts(struct server *server)
{
    struct sc_sp_listener_counts counts = {0};
    sc_sp_hub_lock(server->hub);
    sc_sp_listener_add_counts(server->listener, &counts);
    sc_sp_hub_unlock(server->hub);
    return counts;
}

/* ---- A client: one link in a hub of its own ---- */

struct client {
    struct sc_sp_hub *hub;
    struct sc_sp_link *link;
    size_t ok, unknown; /* ends of requests */
    size_t bytes; /* of all replies */
    size_t ended[65536]; /* how often the request with this tag has ended */
    bool mismatch; /* a reply did not begin with its tag */
    int ups, downs;
    char why[SC_WHY_SIZE];
};

static inline void client_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct client *client = arg;
    if (state == SC_SP_UP) {
        client->ups++;
    } else {
        client->downs++;
        snprintf(client->why, sizeof client->why, "%s", why);
    }
}

static inline void client_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct client *client = arg;
    size_t number = (size_t)(uintptr_t)tag;
    client->ended[number]++;
    if (status != SC_OK) {
        ck_assert_int_eq(status, SC_UNKNOWN);
        client->unknown++;
        return;
    }
    client->ok++;
    client->bytes += body.size;
    if (body.size >= 4 && sc_be32_get(body.data) != number) {
        client->mismatch = true;
    }
}

static inline struct client *client_open(const char *url)
{
    struct client *client = calloc(1, sizeof *client);
    char why[SC_WHY_SIZE];
    struct sc_sp_hub_options hub = {.message_max = 4u << 20, .descriptor = descriptor()};
    ck_assert_int_eq(sc_sp_hub_open(&hub, &client->hub, why), SC_OK);
    struct sc_sp_link_options options = {.url = url,
                                         .on_state = client_state,
                                         .on_reply = client_reply,
                                         .arg = client,
                                         .reconnect_min_ms = 5,
                                         .reconnect_max_ms = 50};
    ck_assert_msg(sc_sp_dial(client->hub, &options, &client->link, why) == SC_OK, "%s", why);
    return client;
}

static inline void client_close(struct client *client)
{
    sc_sp_hub_close(client->hub, 0);
    free(client);
}

/* Lock held. Sends `size` bytes (at least 4) that begin with the tag. */
static inline void client_send_locked(struct client *client, uint32_t tag, size_t size,
                                      uint32_t timeout_ms)
{
    struct sc_buf *out = sc_sp_send_begin(client->link, (void *)(uintptr_t)tag, timeout_ms);
    uint8_t *to = sc_buf_reserve(out, size);
    memset(to, (int)(tag & 0xff), size);
    sc_be32_put(to, tag);
    out->size += size;
    sc_sp_send_end(client->link);
}

static inline void client_send(struct client *client, uint32_t tag, size_t size)
{
    sc_sp_hub_lock(client->hub);
    client_send_locked(client, tag, size, 0);
    sc_sp_hub_unlock(client->hub);
}

static inline void client_wait_up(struct client *client)
{
    ck_eventually(client->hub, sc_sp_link_up(client->link));
}

/* ---- A raw socket ---- */

static inline void raw_connect_with(int fd, const char *url)
{
    if (strncmp(url, "ipc://", 6) == 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        snprintf(to.sun_path, sizeof to.sun_path, "%s", url + 6);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        return;
    }
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
}

static inline int raw_connect(const char *url)
{
    bool ipc = strncmp(url, "ipc://", 6) == 0;
    int fd = socket(ipc ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    raw_connect_with(fd, url);
    return fd;
}

static inline void raw_write(int fd, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t wrote = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);
        ck_assert_int_gt(wrote, 0);
        done += (size_t)wrote;
    }
}

/* Reads exactly `size` bytes; false when the connection ends before. */
static inline bool raw_read(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        struct pollfd ready = {fd, POLLIN, 0};
        ck_assert_msg(poll(&ready, 1, PATIENCE_MS) == 1, "nothing to read");
        ssize_t got = recv(fd, (char *)data + done, size - done, 0);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

/* True when the peer has closed the connection, whatever it still sends before. */
static inline bool raw_ends(int fd)
{
    char byte;
    while (raw_read(fd, &byte, 1)) {
    }
    return true;
}

#define HANDSHAKE_REQ "\0SP\0\0\x30\0\0"
#define HANDSHAKE_REP "\0SP\0\0\x31\0\0"

static inline void raw_handshake(int fd)
{
    uint8_t theirs[8];
    raw_write(fd, HANDSHAKE_REQ, 8);
    ck_assert(raw_read(fd, theirs, 8));
    ck_assert_mem_eq(theirs, HANDSHAKE_REP, 8);
}

/* Appends a frame with the words given and then the body. */
static inline size_t raw_frame(uint8_t *to, bool ipc, const uint32_t *words, size_t count,
                               const void *body, size_t size)
{
    size_t at = 0;
    if (ipc) {
        to[at++] = 1;
    }
    sc_be64_put(to + at, 4 * count + size);
    at += 8;
    for (size_t i = 0; i < count; i++, at += 4) {
        sc_be32_put(to + at, words[i]);
    }
    memcpy(to + at, body, size);
    return at + size;
}

/* One request and its reply of the same size. */
static inline void raw_echo(int fd, bool ipc, uint32_t id, const char *text)
{
    uint8_t out[256], in[256];
    id |= 0x80000000u;
    size_t size = raw_frame(out, ipc, &id, 1, text, strlen(text));
    raw_write(fd, out, size);
    ck_assert(raw_read(fd, in, size));
    ck_assert_mem_eq(in, out, size);
}

/* ---- Signals: none to nng's threads, and a peer that has gone is no reason to die ---- */

static inline void sp_setup(void)
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sc_log_init("test", SC_LOG_ERROR);
    make_directory();
}

static inline void sp_teardown(void)
{
    remove_directory();
}

static inline bool url_is_ipc(const char *url)
{
    return strncmp(url, "ipc://", 6) == 0;
}

#endif

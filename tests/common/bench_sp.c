/*
 * Measures the SP transport alone, without a store behind it.
 *
 *   bench_sp serve URL                 answers every request with its own body
 *   bench_sp relay URL UPSTREAM        passes every request on over one link and the reply back
 *   bench_sp load URL CONNECTIONS OUTSTANDING BYTES SECONDS
 *                                      raw sockets and epoll: cheap, so that the server is what
 *                                      is measured
 *
 * serve and relay end with SIGTERM or SIGINT. Bind them with taskset to compare placements.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/sp.h"
#include "common/sp_descriptor.h"

static void die(const char *what)
{
    fprintf(stderr, "bench_sp: %s\n", what);
    exit(1);
}

/* ---- Servers ---- */

struct relay {
    struct sc_sp_link *link;
    uint64_t requests;
};

static void on_echo(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct relay *relay = arg;
    relay->requests++;
    sc_sp_reply(origin, body);
}

static void on_relay(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct relay *relay = arg;
    relay->requests++;
    if (!sc_sp_link_up(relay->link)) {
        sc_sp_drop(origin);
        return;
    }
    struct sc_sp_origin *kept = sc_alloc(sizeof *kept);
    *kept = *origin;
    sc_buf_append_slice(sc_sp_send_begin(relay->link, kept, 10000), body);
    sc_sp_send_end(relay->link);
}

static void on_relay_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    (void)arg;
    if (status == SC_OK) {
        sc_sp_reply(tag, body);
    } else {
        sc_sp_drop(tag);
    }
    free(tag);
}

static void on_relay_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    (void)arg;
    fprintf(stderr, "link %s %s\n", state == SC_SP_UP ? "up" : "down", why);
}

/* What a request cost: unlike its rate this hardly depends on what else the machine does. */
static void print_cost(uint64_t requests)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double user = (double)use.ru_utime.tv_sec * 1e6 + (double)use.ru_utime.tv_usec;
    double system = (double)use.ru_stime.tv_sec * 1e6 + (double)use.ru_stime.tv_usec;
    double n = requests > 0 ? (double)requests : 1;
    fprintf(stderr, "%.2f us user and %.2f us system per request, %.2f switches\n", user / n,
            system / n, (double)(use.ru_nvcsw + use.ru_nivcsw) / n);
}

static void serve(const char *url, const char *upstream)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    char why[SC_WHY_SIZE];
    struct relay relay = {0};
    struct sc_sp_hub *hub;
    struct sc_sp_hub_options options = {.message_max = (size_t)64 << 20,
                                        .descriptor = sc_sp_descriptor};
    if (sc_sp_hub_open(&options, &hub, why) != SC_OK) {
        die(why);
    }
    struct sc_sp_link_options to = {
        .url = upstream, .on_state = on_relay_state, .on_reply = on_relay_reply, .arg = &relay};
    if (upstream != NULL && sc_sp_dial(hub, &to, &relay.link, why) != SC_OK) {
        die(why);
    }
    struct sc_sp_listener *listener;
    struct sc_sp_listener_options at = {
        .url = url, .on_request = upstream != NULL ? on_relay : on_echo, .arg = &relay};
    if (sc_sp_listen(hub, &at, &listener, why) != SC_OK) {
        die(why);
    }
    fprintf(stderr, "%s\n", sc_sp_listener_url(listener));
    int signal_number;
    sigwait(&ends, &signal_number);
    sc_sp_hub_close(hub, 1000);
    print_cost(relay.requests);
}

/* ---- Load ---- */

struct load_conn {
    int fd;
    uint8_t *in;
    size_t in_size;
    uint64_t *sent_ns; /* when the requests in flight were sent, oldest first: a ring */
    size_t ring, first;
    uint32_t id;
};

struct load {
    bool ipc;
    size_t body, outstanding, frame;
    uint8_t *request; /* the frames of `outstanding` requests */
    uint32_t *micros; /* histogram of latencies, 0.1 us each */
    uint64_t replies;
};

#define MICROS_SIZE 1000000u
#define IN_SIZE ((size_t)1 << 20)

static int load_connect(const char *url, bool ipc)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in net = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(ipc ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    int result;
    if (ipc) {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", url + 6);
        result = connect(fd, (struct sockaddr *)&local, sizeof local);
    } else {
        net.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
        result = connect(fd, (struct sockaddr *)&net, sizeof net);
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    uint8_t theirs[8];
    if (result != 0 || send(fd, "\0SP\0\0\x30\0\0", 8, MSG_NOSIGNAL) != 8 ||
        recv(fd, theirs, 8, MSG_WAITALL) != 8) {
        die("cannot connect");
    }
    return fd;
}

static void load_send(struct load *load, struct load_conn *conn, size_t count)
{
    uint64_t now = sc_clock_mono_ns();
    for (size_t i = 0; i < count; i++) {
        uint8_t *frame = load->request + i * load->frame + (load->ipc ? 9u : 8u);
        sc_be32_put(frame, conn->id++ | 0x80000000u);
        conn->sent_ns[(conn->first + conn->ring++) % load->outstanding] = now;
    }
    size_t size = count * load->frame;
    for (size_t done = 0; done < size;) {
        ssize_t wrote = send(conn->fd, load->request + done, size - done, MSG_NOSIGNAL);
        if (wrote < 0) {
            die("cannot send");
        }
        done += (size_t)wrote;
    }
}

/* Takes the replies that have come and sends as many requests again. */
static void load_receive(struct load *load, struct load_conn *conn)
{
    ssize_t got = recv(conn->fd, conn->in + conn->in_size, IN_SIZE - conn->in_size, 0);
    if (got <= 0) {
        die("connection lost");
    }
    conn->in_size += (size_t)got;
    size_t count = conn->in_size / load->frame;
    uint64_t now = sc_clock_mono_ns();
    for (size_t i = 0; i < count; i++) {
        uint64_t took = (now - conn->sent_ns[conn->first++ % load->outstanding]) / 100;
        load->micros[took < MICROS_SIZE ? took : MICROS_SIZE - 1]++;
    }
    conn->first %= load->outstanding;
    conn->ring -= count;
    load->replies += count;
    conn->in_size -= count * load->frame;
    memmove(conn->in, conn->in + count * load->frame, conn->in_size);
    load_send(load, conn, count);
}

static double percentile(const struct load *load, double share)
{
    uint64_t want = (uint64_t)((double)load->replies * share);
    uint64_t seen = 0;
    for (size_t i = 0; i < MICROS_SIZE; i++) {
        seen += load->micros[i];
        if (seen > want) {
            return (double)i / 10;
        }
    }
    return 0;
}

static void run_load(const char *url, size_t conns, size_t outstanding, size_t body, double seconds)
{
    struct load load = {.ipc = strncmp(url, "ipc", 3) == 0, .body = body};
    load.outstanding = outstanding;
    load.frame = (load.ipc ? 9u : 8u) + 4 + body;
    load.request = sc_calloc(outstanding, load.frame);
    load.micros = sc_calloc(MICROS_SIZE, sizeof *load.micros);
    for (size_t i = 0; i < outstanding; i++) {
        uint8_t *frame = load.request + i * load.frame;
        frame[0] = 1;
        sc_be64_put(frame + (load.ipc ? 1u : 0u), 4 + body);
    }
    int poller = epoll_create1(0);
    struct load_conn *all = sc_calloc(conns, sizeof *all);
    for (size_t i = 0; i < conns; i++) {
        all[i].fd = load_connect(url, load.ipc);
        all[i].in = sc_alloc(IN_SIZE);
        all[i].sent_ns = sc_calloc(outstanding, sizeof *all[i].sent_ns);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    uint64_t begin = sc_clock_mono_ns();
    uint64_t end = begin + (uint64_t)(seconds * 1e9);
    for (size_t i = 0; i < conns; i++) {
        load_send(&load, &all[i], outstanding);
    }
    while (sc_clock_mono_ns() < end) {
        struct epoll_event events[256];
        int count = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < count; i++) {
            load_receive(&load, events[i].data.ptr);
        }
    }
    double took = (double)(sc_clock_mono_ns() - begin) / 1e9;
    printf("%zu x %zu, %zu bytes: %.0f/s, %.1f MB/s each way, p50 %.1f us, p99 %.1f us\n", conns,
           outstanding, body, (double)load.replies / took,
           (double)(load.replies * load.frame) / took / 1e6, percentile(&load, 0.5),
           percentile(&load, 0.99));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        serve(argv[2], NULL);
    } else if (argc == 4 && strcmp(argv[1], "relay") == 0) {
        serve(argv[2], argv[3]);
    } else if (argc == 7 && strcmp(argv[1], "load") == 0) {
        run_load(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                 strtoul(argv[5], NULL, 10), strtod(argv[6], NULL));
    } else {
        die("serve URL | relay URL UPSTREAM | load URL CONNECTIONS OUTSTANDING BYTES SECONDS");
    }
    return 0;
}

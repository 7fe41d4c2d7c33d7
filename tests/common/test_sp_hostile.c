/* A server among careless and hostile peers: after each it must serve a good client, and hold
 * neither connections nor memory for the others. */
#include <dirent.h>
#include <sys/resource.h>

#include "tests/common/sp_fixture.h"

static bool connected(struct server *server, uint64_t left)
{
    struct sc_sp_listener_counts counts = {0};
    sc_sp_listener_add_counts(server->listener, &counts);
    return counts.connections == left;
}

/* A good client is served, and nobody else is connected but the `left` that have a right to be. */
static void check_serves(struct server *server, uint64_t left)
{
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    raw_echo(fd, url_is_ipc(server->url), 5, "still there?");
    close(fd);
    ck_eventually(server->hub, connected(server, left));
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total, resident;
    ck_assert_int_eq(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void reset_on_close(int fd)
{
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

START_TEST(peers_that_connect_and_close_are_harmless)
{
    struct server *server = server_open(listen_url(_i));
    for (int i = 0; i < 300; i++) {
        int fd = raw_connect(server->url);
        if (i % 3 == 1) {
            raw_write(fd, HANDSHAKE_REQ, (size_t)(i % 9));
        } else if (i % 3 == 2) {
            shutdown(fd, SHUT_WR);
            reset_on_close(fd);
        }
        close(fd);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(garbage_closes_the_connection)
{
    static const struct {
        const char *bytes;
        size_t size;
    } garbage[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {"\0SP\0\0\x20\0\0", 8}, /* PUB */
        {"\0SP\0\0\x31\0\0", 8}, /* REP, as we are */
        {"\0SP\1\0\x30\0\0", 8},
        {"\0SP\0\0\x30\0\1", 8},
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
    };
    struct server *server = server_open(listen_url(_i));
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int fd = raw_connect(server->url);
        raw_write(fd, garbage[i].bytes, garbage[i].size);
        ck_assert(raw_ends(fd));
        close(fd);
    }
    check_serves(server, 0);
    ck_assert_uint_eq(server_counts(server).refused, sizeof garbage / sizeof *garbage);
    server_close(server);
}
END_TEST

START_TEST(broken_frames_close_the_connection)
{
    bool ipc = _i == 1;
    static const uint64_t lengths[] = {UINT64_MAX,        UINT64_C(0xffffffffffffffe0),
                                       UINT64_C(1) << 32, SERVER_MESSAGE_MAX + 37,
                                       0 /* no id */,     3};
    struct server *server = server_open(listen_url(_i));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int fd = raw_connect(server->url);
        raw_handshake(fd);
        uint8_t frame[16] = {1};
        sc_be64_put(frame + ipc, lengths[i]);
        raw_write(fd, frame, 8 + (size_t)ipc + 3);
        ck_assert(raw_ends(fd));
        close(fd);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(random_bytes_after_the_handshake_harm_nobody)
{
    struct server *server = server_open(listen_url(_i));
    unsigned seed = 20240229;
    for (int round = 0; round < 200; round++) {
        uint8_t bytes[300];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)(rand_r(&seed) >> 8);
        }
        int fd = raw_connect(server->url);
        raw_handshake(fd);
        send(fd, bytes, (size_t)rand_r(&seed) % sizeof bytes, MSG_NOSIGNAL);
        if (round % 2 == 0) {
            reset_on_close(fd);
        }
        close(fd);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(a_body_of_the_limit_is_taken_and_one_byte_more_is_not)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    uint8_t *body = sc_calloc(1, SERVER_MESSAGE_MAX + 1);
    uint8_t *frame = sc_alloc(SERVER_MESSAGE_MAX + 100);
    uint8_t *reply = sc_alloc(SERVER_MESSAGE_MAX + 100);
    uint32_t id = 0x80000001;
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    size_t size = raw_frame(frame, ipc, &id, 1, body, SERVER_MESSAGE_MAX);
    raw_write(fd, frame, size);
    ck_assert(raw_read(fd, reply, size));
    ck_assert_mem_eq(reply, frame, size);
    size = raw_frame(frame, ipc, &id, 1, body, SERVER_MESSAGE_MAX + 1);
    send(fd, frame, size, MSG_NOSIGNAL); /* may fail half way: that is the point */
    ck_assert(raw_ends(fd));
    close(fd);
    free(body);
    free(frame);
    free(reply);
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(a_large_claim_takes_no_memory)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    size_t before = resident_bytes();
    int fds[200];
    for (size_t i = 0; i < 200; i++) {
        fds[i] = raw_connect(server->url);
        raw_handshake(fds[i]);
        uint8_t frame[1024] = {1};
        sc_be64_put(frame + ipc, SERVER_MESSAGE_MAX);
        raw_write(fds[i], frame, sizeof frame);
    }
    check_serves(server, 200);
    /* The claims are for 200 MiB. */
    ck_assert_uint_lt(resident_bytes() - before, (size_t)60 << 20);
    for (size_t i = 0; i < 200; i++) {
        close(fds[i]);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(hops_come_back_with_the_reply_and_too_many_are_dropped)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    for (uint32_t hops = 0; hops <= SC_SP_HOPS_MAX + 3; hops++) {
        uint32_t words[SC_SP_HOPS_MAX + 4];
        for (uint32_t i = 0; i < hops; i++) {
            words[i] = 1000 + i;
        }
        words[hops] = 0x80000000u + hops;
        uint8_t frame[200], reply[200];
        size_t size = raw_frame(frame, ipc, words, hops + 1, "body", 4);
        raw_write(fd, frame, size);
        if (hops <= SC_SP_HOPS_MAX) {
            ck_assert(raw_read(fd, reply, size));
            ck_assert_mem_eq(reply, frame, size);
        }
        raw_echo(fd, ipc, 77, "and the connection lives");
    }
    close(fd);
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(a_handshake_must_come_in_time)
{
    struct sc_sp_listener_options options = {.url = listen_url(_i), .handshake_ms = 50};
    struct server *server = server_start(options);
    int silent = raw_connect(server->url);
    int half = raw_connect(server->url);
    int good = raw_connect(server->url);
    raw_write(half, HANDSHAKE_REQ, 7);
    raw_handshake(good);
    ck_assert(raw_ends(silent));
    ck_assert(raw_ends(half));
    raw_echo(good, url_is_ipc(server->url), 1, "in time");
    close(silent);
    close(half);
    close(good);
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(a_silent_connection_is_closed_unless_it_waits_for_us)
{
    struct sc_sp_listener_options options = {.url = listen_url(_i), .idle_ms = 100};
    struct server *server = server_start(options);
    bool ipc = url_is_ipc(server->url);
    server->keep = true;
    int silent = raw_connect(server->url);
    int waits = raw_connect(server->url);
    raw_handshake(silent);
    raw_handshake(waits);
    uint32_t id = 0x80000009;
    uint8_t frame[64], reply[64];
    size_t size = raw_frame(frame, ipc, &id, 1, "slow", 4);
    raw_write(waits, frame, size);
    ck_assert(raw_ends(silent));
    ck_eventually(server->hub, server->kept_count == 1);
    sc_sp_hub_lock(server->hub);
    sc_sp_reply(&server->kept[0], sc_slice("slow", 4));
    sc_sp_hub_unlock(server->hub);
    ck_assert(raw_read(waits, reply, size));
    ck_assert(raw_ends(waits));
    close(silent);
    close(waits);
    server_close(server);
}
END_TEST

START_TEST(a_connection_over_the_limit_is_closed_at_once)
{
    struct sc_sp_listener_options options = {.url = listen_url(_i), .connections_max = 3};
    struct server *server = server_start(options);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = raw_connect(server->url);
        raw_handshake(fds[i]);
    }
    int more = raw_connect(server->url);
    ck_assert(raw_ends(more));
    close(more);
    for (int i = 0; i < 3; i++) {
        raw_echo(fds[i], url_is_ipc(server->url), 1, "served");
    }
    close(fds[0]);
    ck_eventually(server->hub, connected(server, 2));
    check_serves(server, 2);
    close(fds[1]);
    close(fds[2]);
    check_serves(server, 0);
    server_close(server);
}
END_TEST

/* Writes frames until the server has not taken any for a while; returns how many it was given. */
static size_t write_until_stuck(int fd, const uint8_t *frame, size_t size, size_t count)
{
    size_t total = count * size;
    size_t done = 0;
    struct pollfd ready = {fd, POLLOUT, 0};
    while (done < total && poll(&ready, 1, 300) == 1) {
        size_t at = done % size;
        ssize_t wrote = send(fd, frame + at, size - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return done;
}

START_TEST(who_does_not_read_is_not_read_from)
{
    bool ipc = _i == 1;
    struct sc_sp_listener_options options = {.url = listen_url(_i), .output_max = 1u << 20};
    struct server *server = server_start(options);
    size_t before = resident_bytes();
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    static uint8_t frame[70000], reply[70000];
    static const uint8_t body[65536];
    uint32_t id = 0x80000001;
    size_t size = raw_frame(frame, ipc, &id, 1, body, sizeof body);
    size_t count = 4096; /* 256 MiB */
    size_t sent = write_until_stuck(fd, frame, size, count);
    ck_assert_uint_lt(sent, size * count);
    ck_assert_uint_lt(resident_bytes() - before, (size_t)30 << 20);
    check_serves(server, 1);
    /* It comes to its senses, and nothing is lost. */
    for (size_t i = 0; i < sent / size; i++) {
        ck_assert(raw_read(fd, reply, size));
        ck_assert(memcmp(reply, frame, size) == 0);
    }
    close(fd);
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(requests_in_flight_are_bounded)
{
    bool ipc = _i == 1;
    struct sc_sp_listener_options options = {.url = listen_url(_i), .output_max = 100 * 1024};
    struct server *server = server_start(options);
    server->keep = true;
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    static uint8_t frames[1000 * 20];
    uint8_t reply[64];
    size_t size = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t id = 0x80000000 + i;
        size = raw_frame(frames + i * size, ipc, &id, 1, "x", 1);
    }
    raw_write(fd, frames, 1000 * size);
    size_t answered = 0;
    while (answered < 1000) {
        ck_eventually(server->hub, server->kept_count > 0);
        sc_sp_hub_lock(server->hub);
        ck_assert_uint_le(server->kept_count, 100);
        answered += server->kept_count;
        for (size_t i = 0; i < server->kept_count; i++) {
            sc_sp_reply(&server->kept[i], sc_slice("y", 1));
        }
        server->kept_count = 0;
        sc_sp_hub_unlock(server->hub);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert(raw_read(fd, reply, size));
        ck_assert_uint_eq(sc_be32_get(reply + size - 5), 0x80000000 + i);
    }
    close(fd);
    server->keep = false;
    check_serves(server, 0);
    server_close(server);
}
END_TEST

struct flood {
    int fd;
    bool ipc;
    atomic_bool stop;
};

/* Keeps many requests in flight without a pause. */
static void *flood(void *arg)
{
    struct flood *flood = arg;
    uint8_t frames[64 * 32], reply[64];
    uint32_t id = 0x80000001;
    size_t size = 0;
    for (size_t i = 0; i < 64; i++) {
        size = raw_frame(frames + i * size, flood->ipc, &id, 1, "flood", 5);
    }
    raw_write(flood->fd, frames, 64 * size);
    while (!atomic_load(&flood->stop)) {
        raw_write(flood->fd, frames, size);
        ck_assert(raw_read(flood->fd, reply, size));
    }
    close(flood->fd);
    return NULL;
}

START_TEST(ticks_and_threads_of_the_program_get_the_lock_in_a_flood)
{
    struct server *server = server_open(listen_url(_i));
    struct flood floods[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        floods[i].fd = raw_connect(server->url);
        floods[i].ipc = url_is_ipc(server->url);
        atomic_init(&floods[i].stop, false);
        raw_handshake(floods[i].fd);
        pthread_create(&threads[i], NULL, flood, &floods[i]);
    }
    size_t ticks = atomic_load(&server->ticks);
    uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&server->ticks) < ticks + 3 && sc_clock_mono_ms() < until) {
        nap();
    }
    ck_assert_uint_ge(atomic_load(&server->ticks), ticks + 3);
    for (size_t i = 0; i < 300; i++) {
        sc_sp_hub_lock(server->hub);
        sc_sp_hub_unlock(server->hub);
    }
    for (size_t i = 0; i < 3; i++) {
        atomic_store(&floods[i].stop, true);
        pthread_join(threads[i], NULL);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(peers_that_vanish_amid_replies_are_harmless)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    static uint8_t frame[300000];
    static const uint8_t body[200000];
    uint32_t id = 0x80000001;
    size_t size = raw_frame(frame, ipc, &id, 1, body, sizeof body);
    for (int i = 0; i < 60; i++) {
        int fd = raw_connect(server->url);
        raw_handshake(fd);
        for (int k = 0; k < 5; k++) {
            send(fd, frame, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        uint8_t some[100];
        if (i % 3 != 0) {
            raw_read(fd, some, sizeof some);
        }
        if (i % 2 == 0) {
            reset_on_close(fd);
        }
        close(fd);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

START_TEST(origins_outlive_their_connection)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    size_t descriptors = open_descriptors();
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(server->url);
        raw_handshake(fd);
        uint8_t frame[64];
        uint32_t id = 0x80000001;
        raw_write(fd, frame, raw_frame(frame, ipc, &id, 1, "x", 1));
        raw_write(fd, frame, raw_frame(frame, ipc, &id, 1, "x", 1));
        ck_eventually(server->hub, server->kept_count == 2 * (size_t)(i + 1));
        close(fd);
    }
    ck_eventually(server->hub, connected(server, 0));
    ck_eventually(server->hub, open_descriptors() == descriptors);
    sc_sp_hub_lock(server->hub);
    for (size_t i = 0; i < server->kept_count; i++) {
        if (i % 2 == 0) {
            sc_sp_reply(&server->kept[i], sc_slice("too late", 8));
        } else {
            sc_sp_drop(&server->kept[i]);
        }
    }
    sc_sp_hub_unlock(server->hub);
    server->keep = false;
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(running_out_of_descriptors_passes)
{
    struct server *server = server_open(listen_url(_i));
    struct rlimit limit = {256, 256};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    /* Sockets first, then every other descriptor; connecting takes none on this side. */
    bool ipc = url_is_ipc(server->url);
    int fds[4];
    for (size_t i = 0; i < 4; i++) {
        fds[i] = socket(ipc ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
        ck_assert_int_ge(fds[i], 0);
    }
    int fillers[256];
    size_t count = 0;
    while ((fillers[count] = dup(0)) >= 0) {
        count++;
    }
    ck_assert_int_eq(errno, EMFILE);
    for (size_t i = 0; i < 4; i++) {
        raw_connect_with(fds[i], server->url);
    }
    nap();
    for (size_t i = 0; i < count; i++) {
        close(fillers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        raw_handshake(fds[i]);
        raw_echo(fds[i], ipc, 1, "after all");
        close(fds[i]);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

START_TEST(a_thousand_idle_connections_cost_little)
{
    struct rlimit limit = {4096, 4096};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return; /* not permitted here */
    }
    struct server *server = server_open(listen_url(_i));
    size_t before = resident_bytes();
    int fds[1000];
    for (size_t i = 0; i < 1000; i++) {
        fds[i] = raw_connect(server->url);
        raw_handshake(fds[i]);
        raw_echo(fds[i], url_is_ipc(server->url), 1, "hello");
    }
    check_serves(server, 1000);
#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__
    ck_assert_uint_lt(resident_bytes() - before, (size_t)12 << 20);
#endif
#endif
    (void)before;
    for (size_t i = 0; i < 1000; i++) {
        close(fds[i]);
    }
    check_serves(server, 0);
    server_close(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_hostile");
    TCase *tcase = tcase_create("hostile");
    tcase_add_checked_fixture(tcase, sp_setup, sp_teardown);
    tcase_add_loop_test(tcase, peers_that_connect_and_close_are_harmless, 0, 2);
    tcase_add_loop_test(tcase, garbage_closes_the_connection, 0, 2);
    tcase_add_loop_test(tcase, broken_frames_close_the_connection, 0, 2);
    tcase_add_loop_test(tcase, random_bytes_after_the_handshake_harm_nobody, 0, 2);
    tcase_add_loop_test(tcase, a_body_of_the_limit_is_taken_and_one_byte_more_is_not, 0, 2);
    tcase_add_loop_test(tcase, a_large_claim_takes_no_memory, 0, 2);
    tcase_add_loop_test(tcase, hops_come_back_with_the_reply_and_too_many_are_dropped, 0, 2);
    tcase_add_loop_test(tcase, a_handshake_must_come_in_time, 0, 2);
    tcase_add_loop_test(tcase, a_silent_connection_is_closed_unless_it_waits_for_us, 0, 2);
    tcase_add_loop_test(tcase, a_connection_over_the_limit_is_closed_at_once, 0, 2);
    tcase_add_loop_test(tcase, who_does_not_read_is_not_read_from, 0, 2);
    tcase_add_loop_test(tcase, requests_in_flight_are_bounded, 0, 2);
    tcase_add_loop_test(tcase, ticks_and_threads_of_the_program_get_the_lock_in_a_flood, 0, 2);
    tcase_add_loop_test(tcase, peers_that_vanish_amid_replies_are_harmless, 0, 2);
    tcase_add_loop_test(tcase, origins_outlive_their_connection, 0, 2);
    tcase_add_loop_test(tcase, running_out_of_descriptors_passes, 0, 2);
    tcase_add_loop_test(tcase, a_thousand_idle_connections_cost_little, 0, 2);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

/* Links: reconnecting, the fate of requests in flight, and closing from any state. */
#include "tests/common/sp_fixture.h"

/* A listening socket of the test's own, to play servers that misbehave. */
struct impostor {
    int fd;
    char url[100];
};

static struct impostor impostor_open(int which)
{
    struct impostor impostor;
    socklen_t size;
    if (which == 0) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        impostor.fd = socket(AF_INET, SOCK_STREAM, 0);
        size = sizeof at;
        ck_assert_int_eq(bind(impostor.fd, (struct sockaddr *)&at, size), 0);
        ck_assert_int_eq(getsockname(impostor.fd, (struct sockaddr *)&at, &size), 0);
        snprintf(impostor.url, sizeof impostor.url, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    } else {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s", ipc_url + 6);
        impostor.fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(impostor.fd, (struct sockaddr *)&at, sizeof at), 0);
        snprintf(impostor.url, sizeof impostor.url, "%s", ipc_url);
    }
    ck_assert_int_eq(listen(impostor.fd, 16), 0);
    return impostor;
}

static int impostor_accept(const struct impostor *impostor)
{
    struct pollfd ready = {impostor->fd, POLLIN, 0};
    ck_assert_msg(poll(&ready, 1, PATIENCE_MS) == 1, "nobody connects");
    int fd = accept(impostor->fd, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Accepts and shakes hands as a proper server. */
static int impostor_serve(const struct impostor *impostor)
{
    uint8_t theirs[8];
    int fd = impostor_accept(impostor);
    raw_write(fd, HANDSHAKE_REP, 8);
    ck_assert(raw_read(fd, theirs, 8));
    ck_assert_mem_eq(theirs, HANDSHAKE_REQ, 8);
    return fd;
}

/* Reads the frame of a request with a body of `size` bytes. */
static void read_request(int fd, bool ipc, uint8_t *frame, size_t size)
{
    ck_assert(raw_read(fd, frame, (ipc ? 9 : 8) + 4 + size));
    ck_assert_uint_eq(sc_be64_get(frame + ipc), 4 + size);
    ck_assert_uint_ne(frame[ipc + 8] & 0x80, 0);
}

START_TEST(a_link_comes_back_after_the_server_restarts)
{
    struct server *server = server_open(listen_url(_i));
    char url[300];
    snprintf(url, sizeof url, "%s", server->url);
    struct client *client = client_open(url);
    client_wait_up(client);
    for (int round = 1; round <= 5; round++) {
        server_close(server);
        ck_eventually(client->hub, client->downs == round);
        ck_assert_ptr_nonnull(strstr(client->why, url));
        server = server_open(url);
        ck_eventually(client->hub, client->ups == round + 1);
        client_send(client, (uint32_t)round, 100);
        ck_eventually(client->hub, client->ok == (size_t)round);
    }
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(a_link_waits_for_a_server_that_is_not_there_yet)
{
    struct server *server = server_open(listen_url(_i));
    char url[300];
    snprintf(url, sizeof url, "%s", server->url);
    server_close(server);
    struct client *client = client_open(url);
    ck_eventually(client->hub, sc_sp_link_why(client->link)[0] != '\0');
    sc_sp_hub_lock(client->hub);
    ck_assert_ptr_nonnull(strstr(sc_sp_link_why(client->link), "cannot connect"));
    ck_assert(!sc_sp_link_up(client->link));
    ck_assert_int_eq(client->downs, 0);
    sc_sp_hub_unlock(client->hub);
    server = server_open(url);
    client_wait_up(client);
    sc_sp_hub_lock(client->hub);
    ck_assert_str_eq(sc_sp_link_why(client->link), "");
    sc_sp_hub_unlock(client->hub);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(requests_on_a_broken_connection_end_as_unknown_once)
{
    struct server *server = server_open(listen_url(_i));
    char url[300];
    snprintf(url, sizeof url, "%s", server->url);
    server->keep = true;
    struct client *client = client_open(url);
    client_wait_up(client);
    for (uint32_t i = 0; i < 300; i++) {
        client_send(client, i, 100);
    }
    ck_eventually(server->hub, server->kept_count == 300);
    server_close(server);
    ck_eventually(client->hub, client->downs == 1);
    server = server_open(url);
    ck_eventually(client->hub, client->ups == 2);
    /* They are not sent again. */
    client_send(client, 300, 100);
    ck_eventually(client->hub, client->ok == 1);
    ck_assert_uint_eq(client->unknown, 300);
    for (uint32_t i = 0; i <= 300; i++) {
        ck_assert_uint_eq(client->ended[i], 1);
    }
    ck_assert_uint_eq(server_counts(server).requests, 1);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(a_request_out_of_time_ends_and_its_late_reply_is_dropped)
{
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    struct client *client = client_open(server->url);
    client_wait_up(client);
    sc_sp_hub_lock(client->hub);
    for (uint32_t i = 0; i < 100; i++) {
        client_send_locked(client, i, 10, i % 2 == 0 ? 1 : 0);
    }
    sc_sp_hub_unlock(client->hub);
    ck_eventually(client->hub, client->unknown == 50);
    ck_eventually(server->hub, server->kept_count == 100);
    sc_sp_hub_lock(server->hub);
    for (size_t i = 0; i < 100; i++) {
        uint8_t body[4];
        sc_be32_put(body, server->kept_last[i]);
        sc_sp_reply(&server->kept[i], sc_slice(body, 4));
    }
    sc_sp_hub_unlock(server->hub);
    ck_eventually(client->hub, client->ok == 50);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(client->ended[i], 1);
    }
    ck_assert(!client->mismatch);
    sc_sp_hub_lock(client->hub);
    ck_assert(sc_sp_link_up(client->link));
    ck_assert_int_eq(client->downs, 0);
    sc_sp_hub_unlock(client->hub);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(an_old_request_keeps_its_id_while_newer_ones_come_and_go)
{
    bool ipc = _i == 1;
    struct impostor impostor = impostor_open(_i);
    struct client *client = client_open(impostor.url);
    int fd = impostor_serve(&impostor);
    client_wait_up(client);
    uint8_t old[64], frame[64];
    client_send(client, 1, 4);
    read_request(fd, ipc, old, 4);
    for (uint32_t i = 0; i < 1000; i++) {
        client_send(client, 2, 4);
        read_request(fd, ipc, frame, 4);
        ck_assert_mem_ne(frame + ipc + 8, old + ipc + 8, 4);
        raw_write(fd, frame, (ipc ? 9 : 8) + 8);
    }
    ck_eventually(client->hub, client->ended[2] == 1000);
    ck_assert_uint_eq(client->ended[1], 0);
    raw_write(fd, old, (ipc ? 9 : 8) + 8);
    raw_write(fd, old, (ipc ? 9 : 8) + 8); /* twice: the second answers nothing */
    ck_eventually(client->hub, client->ended[1] == 1);
    client_send(client, 3, 4);
    read_request(fd, ipc, frame, 4);
    raw_write(fd, frame, (ipc ? 9 : 8) + 8);
    ck_eventually(client->hub, client->ended[3] == 1);
    ck_assert_uint_eq(client->ended[1], 1);
    ck_assert(!client->mismatch);
    close(fd);
    client_close(client);
    close(impostor.fd);
}
END_TEST

START_TEST(a_peer_that_is_no_server_is_left_and_tried_again)
{
    static const struct {
        const char *bytes, *why;
    } peers[] = {
        {"\0SP\0\0\x30\0\0", "not an SP server"},
        {"\0SP\0\0\x51\0\0", "not an SP server"},
        {"HTTP/1.1", "does not speak the SP protocol"},
    };
    struct impostor impostor = impostor_open(_i);
    struct client *client = client_open(impostor.url);
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        int fd = impostor_accept(&impostor);
        raw_write(fd, peers[i].bytes, 8);
        ck_eventually(client->hub, strstr(sc_sp_link_why(client->link), peers[i].why) != NULL);
        close(fd);
    }
    for (int i = 0; i < 5; i++) {
        close(impostor_accept(&impostor)); /* as a server over its limit */
    }
    int fd = impostor_serve(&impostor);
    client_wait_up(client);
    ck_eventually(client->hub, client->downs == 0);
    close(fd);
    client_close(client);
    close(impostor.fd);
}
END_TEST

START_TEST(a_server_that_does_not_shake_hands_is_left)
{
    struct impostor impostor = impostor_open(_i);
    struct client *client = calloc(1, sizeof *client);
    struct sc_sp_hub_options hub = {.message_max = 1000, .descriptor = descriptor()};
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_sp_hub_open(&hub, &client->hub, why), SC_OK);
    struct sc_sp_link_options options = {.url = impostor.url,
                                         .on_state = client_state,
                                         .on_reply = client_reply,
                                         .arg = client,
                                         .handshake_ms = 20};
    ck_assert_int_eq(sc_sp_dial(client->hub, &options, &client->link, why), SC_OK);
    int silent = impostor_accept(&impostor);
    int again = impostor_serve(&impostor);
    client_wait_up(client);
    close(silent);
    close(again);
    client_close(client);
    close(impostor.fd);
}
END_TEST

START_TEST(senseless_replies_are_dropped_and_broken_ones_end_the_connection)
{
    bool ipc = _i == 1;
    struct impostor impostor = impostor_open(_i);
    struct client *client = client_open(impostor.url);
    int fd = impostor_serve(&impostor);
    client_wait_up(client);
    uint8_t frame[64], request[64];
    client_send(client, 1, 4);
    read_request(fd, ipc, request, 4);
    uint32_t words[] = {5, 0x80001234, 0};
    raw_write(fd, frame, raw_frame(frame, ipc, words + 1, 1, "no such id", 10));
    raw_write(fd, frame, raw_frame(frame, ipc, words, 2, "hops", 4));
    raw_write(fd, request, (ipc ? 9 : 8) + 8);
    ck_eventually(client->hub, client->ended[1] == 1);
    client_send(client, 2, 4);
    raw_write(fd, frame, raw_frame(frame, ipc, words + 2, 1, "", 0)); /* no id */
    ck_eventually(client->hub, client->downs == 1);
    ck_assert_uint_eq(client->unknown, 1);
    close(fd);
    fd = impostor_serve(&impostor);
    ck_eventually(client->hub, client->ups == 2);
    memset(frame, 0xff, sizeof frame);
    raw_write(fd, frame, sizeof frame); /* a length beyond all limits */
    ck_eventually(client->hub, client->downs == 2);
    close(fd);
    client_close(client);
    close(impostor.fd);
}
END_TEST

START_TEST(a_reset_ends_requests_before_the_lock_is_released)
{
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    struct client *client = client_open(server->url);
    for (int round = 1; round <= 5; round++) {
        ck_eventually(client->hub, client->ups == round);
        sc_sp_hub_lock(client->hub);
        client_send_locked(client, (uint32_t)round, 1000, 0);
        sc_sp_link_reset(client->link, "on purpose");
        ck_assert(!sc_sp_link_up(client->link));
        ck_assert_uint_eq(client->ended[round], 0);
        sc_sp_link_reset(client->link, "again");
        sc_sp_hub_unlock(client->hub);
        sc_sp_hub_lock(client->hub);
        ck_assert_uint_eq(client->ended[round], 1);
        ck_assert_int_eq(client->downs, round);
        ck_assert_ptr_nonnull(strstr(client->why, "on purpose"));
        sc_sp_hub_unlock(client->hub);
    }
    client_close(client);
    server_close(server);
}
END_TEST

/* ---- Closing ---- */

/* Closes the link, then the hub, when the link is in the state that `step` stands for. */
static void close_in_state(int which, int step)
{
    struct impostor impostor = impostor_open(which);
    struct client *client = client_open(impostor.url);
    int fd = -1;
    if (step >= 1) {
        fd = impostor_accept(&impostor);
    }
    if (step >= 2) {
        raw_write(fd, HANDSHAKE_REP, 8);
        client_wait_up(client);
        client_send(client, 1, 4);
    }
    if (step >= 3) {
        sc_sp_hub_lock(client->hub); /* more than the sockets hold: a send is in flight */
        for (uint32_t i = 2; i < 50; i++) {
            client_send_locked(client, i, 1u << 20, 0);
        }
        sc_sp_hub_unlock(client->hub);
    }
    if (step >= 4) {
        close(fd);
        ck_eventually(client->hub, client->downs == 1);
        fd = -1;
    }
    size_t sent = step < 2 ? 0 : step < 3 ? 1 : 49;
    if (step % 2 == 0) {
        sc_sp_hub_lock(client->hub);
        sc_sp_link_close(client->link);
        ck_assert_uint_eq(client->unknown, sent);
        sc_sp_hub_unlock(client->hub);
    }
    struct sc_sp_hub *hub = client->hub;
    sc_sp_hub_close(hub, 50);
    ck_assert_uint_eq(client->unknown, sent);
    ck_assert_int_eq(client->downs, step >= 4 ? 1 : 0);
    free(client);
    close(impostor.fd);
    if (fd >= 0) {
        close(fd);
    }
    unlink(ipc_url + 6);
}

START_TEST(links_and_hubs_close_from_any_state)
{
    for (int which = 0; which < 2; which++) {
        for (int round = 0; round < 5; round++) {
            close_in_state(which, _i);
        }
    }
}
END_TEST

START_TEST(links_to_nowhere_close)
{
    struct client *client = client_open("tcp://127.0.0.1:1");
    ck_eventually(client->hub, sc_sp_link_why(client->link)[0] != '\0');
    client_close(client);
    client = client_open("tcp://no-such-host.invalid:1");
    client_close(client);
    client = client_open("ipc:///no/such/path");
    sc_sp_hub_lock(client->hub);
    sc_sp_link_close(client->link);
    sc_sp_link_close(NULL);
    sc_sp_hub_unlock(client->hub);
    client_close(client);
    sc_sp_hub_close(NULL, 0);
}
END_TEST

/* Closes its link in the middle of everything: during a reply. */
struct suicide {
    struct sc_sp_hub *hub;
    struct sc_sp_link *link;
    size_t ends, states;
};

static void suicide_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct suicide *suicide = arg;
    (void)tag;
    (void)body;
    suicide->ends++;
    if (status == SC_OK) {
        sc_sp_link_close(suicide->link);
    }
}

static void suicide_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct suicide *suicide = arg;
    (void)why;
    suicide->states++;
    ck_assert_int_eq(state, SC_SP_UP);
    for (int i = 0; i < 20; i++) {
        sc_buf_append(sc_sp_send_begin(suicide->link, NULL, 0), "x", 1);
        sc_sp_send_end(suicide->link);
    }
}

START_TEST(a_link_may_be_closed_during_a_reply)
{
    struct server *server = server_open(listen_url(_i));
    struct suicide suicide = {0};
    struct sc_sp_hub_options options = {.message_max = 1000, .descriptor = descriptor()};
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_sp_hub_open(&options, &suicide.hub, why), SC_OK);
    struct sc_sp_link_options link = {
        .url = server->url, .on_state = suicide_state, .on_reply = suicide_reply, .arg = &suicide};
    ck_assert_int_eq(sc_sp_dial(suicide.hub, &link, &suicide.link, why), SC_OK);
    ck_eventually(suicide.hub, suicide.ends == 20);
    sc_sp_hub_close(suicide.hub, 0);
    ck_assert_uint_eq(suicide.ends, 20);
    ck_assert_uint_eq(suicide.states, 1);
    server_close(server);
}
END_TEST

static void *close_server(void *server)
{
    server_close(server);
    return NULL;
}

START_TEST(a_closing_server_lets_its_replies_leave)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    static uint8_t frame[64], body[3u << 20];
    uint32_t id = 0x80000001;
    raw_write(fd, frame, raw_frame(frame, ipc, &id, 1, "x", 1));
    ck_eventually(server->hub, server->kept_count == 1);
    sc_sp_hub_lock(server->hub);
    sc_sp_reply(&server->kept[0], sc_slice(body, sizeof body));
    sc_sp_hub_unlock(server->hub);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, close_server, server), 0);
    uint8_t *reply = malloc(sizeof body + 64);
    ck_assert(raw_read(fd, reply, sizeof body + (ipc ? 13 : 12)));
    ck_assert(raw_ends(fd));
    pthread_join(thread, NULL);
    free(reply);
    close(fd);
}
END_TEST

START_TEST(a_closing_hub_does_not_wait_for_unanswered_requests)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    uint8_t frame[64];
    uint32_t id = 0x80000001;
    raw_write(fd, frame, raw_frame(frame, ipc, &id, 1, "x", 1));
    ck_eventually(server->hub, server->kept_count == 1);
    server_close(server);
    ck_assert(raw_ends(fd));
    close(fd);
}
END_TEST

/* Clients that send, reset and close at random against a server that restarts. */
static void *churn(void *arg)
{
    const char *url = arg;
    unsigned seed = (unsigned)(uintptr_t)&url;
    for (int round = 0; round < 15; round++) {
        struct client *client = client_open(url);
        for (int step = 0; step < 30; step++) {
            sc_sp_hub_lock(client->hub);
            for (int i = 0; i < 10 && sc_sp_link_up(client->link); i++) {
                client_send_locked(client, (uint32_t)step, (size_t)(4 + rand_r(&seed) % 20000),
                                   rand_r(&seed) % 3 == 0 ? 1 : 0);
            }
            if (rand_r(&seed) % 10 == 0) {
                sc_sp_link_reset(client->link, "churn");
            }
            sc_sp_hub_unlock(client->hub);
            nap();
        }
        client_close(client);
    }
    return NULL;
}

START_TEST(nothing_breaks_when_everything_restarts)
{
    struct server *server = server_open(listen_url(_i));
    char url[300];
    snprintf(url, sizeof url, "%s", server->url);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, churn, url);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 30; i++) {
            nap();
        }
        server_close(server);
        server = server_open(url);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    server_close(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_link");
    TCase *links = tcase_create("links");
    tcase_add_checked_fixture(links, sp_setup, sp_teardown);
    tcase_set_timeout(links, 60);
    tcase_add_loop_test(links, a_link_comes_back_after_the_server_restarts, 0, 2);
    tcase_add_loop_test(links, a_link_waits_for_a_server_that_is_not_there_yet, 0, 2);
    tcase_add_loop_test(links, requests_on_a_broken_connection_end_as_unknown_once, 0, 2);
    tcase_add_loop_test(links, a_request_out_of_time_ends_and_its_late_reply_is_dropped, 0, 2);
    tcase_add_loop_test(links, an_old_request_keeps_its_id_while_newer_ones_come_and_go, 0, 2);
    tcase_add_loop_test(links, a_peer_that_is_no_server_is_left_and_tried_again, 0, 2);
    tcase_add_loop_test(links, a_server_that_does_not_shake_hands_is_left, 0, 2);
    tcase_add_loop_test(links, senseless_replies_are_dropped_and_broken_ones_end_the_connection, 0,
                        2);
    tcase_add_loop_test(links, a_reset_ends_requests_before_the_lock_is_released, 0, 2);
    suite_add_tcase(suite, links);
    TCase *closing = tcase_create("closing");
    tcase_add_checked_fixture(closing, sp_setup, sp_teardown);
    tcase_set_timeout(closing, 60);
    tcase_add_loop_test(closing, links_and_hubs_close_from_any_state, 0, 5);
    tcase_add_test(closing, links_to_nowhere_close);
    tcase_add_loop_test(closing, a_link_may_be_closed_during_a_reply, 0, 2);
    tcase_add_loop_test(closing, a_closing_server_lets_its_replies_leave, 0, 2);
    tcase_add_loop_test(closing, a_closing_hub_does_not_wait_for_unanswered_requests, 0, 2);
    tcase_add_loop_test(closing, nothing_breaks_when_everything_restarts, 0, 2);
    suite_add_tcase(suite, closing);
    return sc_check_main(suite);
}

/* Listeners and the traffic of good peers. */
#include <sys/stat.h>

#include "tests/common/sp_fixture.h"

START_TEST(requests_are_answered_over_tcp_and_ipc)
{
    struct server *server = server_open(listen_url(_i));
    struct client *client = client_open(server->url);
    client_wait_up(client);
    for (uint32_t i = 0; i < 1000; i++) {
        client_send(client, i, 4 + i);
    }
    ck_eventually(client->hub, client->ok == 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(client->ended[i], 1);
    }
    ck_assert(!client->mismatch);
    ck_assert_uint_eq(client->bytes, 1000 * 4 + 999 * 1000 / 2);
    ck_assert_uint_eq(server_counts(server).requests, 1000);
    ck_eventually(server->hub, server->drained > 0);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(large_and_small_messages_share_a_connection)
{
    struct server *server = server_open(listen_url(_i));
    struct client *client = client_open(server->url);
    client_wait_up(client);
    size_t total = 0;
    uint32_t tag = 0;
    for (size_t size = 4; size <= SERVER_MESSAGE_MAX; size *= 4) {
        for (int delta = -1; delta <= 1; delta++) {
            size_t bytes = size + (size_t)delta;
            if (bytes >= 4 && bytes <= SERVER_MESSAGE_MAX) {
                client_send(client, tag++, bytes);
                client_send(client, tag++, 7);
                total += bytes + 7;
            }
        }
    }
    ck_eventually(client->hub, client->ok == tag);
    ck_assert(!client->mismatch);
    ck_assert_uint_eq(client->bytes, total);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(a_request_may_arrive_byte_by_byte)
{
    bool ipc = _i == 1;
    struct server *server = server_open(listen_url(_i));
    int fd = raw_connect(server->url);
    for (size_t i = 0; i < 8; i++) {
        raw_write(fd, &HANDSHAKE_REQ[i], 1);
    }
    uint8_t frame[64], reply[64];
    ck_assert(raw_read(fd, reply, 8));
    uint32_t words[2] = {7, 0x80000007};
    size_t size = raw_frame(frame, ipc, words, 2, "bytes", 5);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < size; i++) {
            raw_write(fd, frame + i, 1);
        }
        ck_assert(raw_read(fd, reply, size));
        ck_assert_mem_eq(reply, frame, size);
    }
    close(fd);
    server_close(server);
}
END_TEST

/* Answers what the server keeps, the newest first. */
static void *answer_backwards(void *arg)
{
    struct server *server = arg;
    for (size_t answered = 0; answered < 500;) {
        sc_sp_hub_lock(server->hub);
        while (server->kept_count > 0) {
            struct sc_sp_origin *origin = &server->kept[--server->kept_count];
            struct sc_buf *out = sc_sp_reply_begin(origin);
            sc_buf_append(out, "\0\0\0", 3);
            sc_buf_append(out, &server->kept_last[server->kept_count], 1);
            sc_sp_reply_end(origin);
            answered++;
        }
        sc_sp_hub_unlock(server->hub);
        nap();
    }
    return NULL;
}

START_TEST(replies_may_come_from_other_threads_in_any_order)
{
    struct server *server = server_open(listen_url(_i));
    server->keep = true;
    pthread_t threads[1];
    pthread_create(&threads[0], NULL, answer_backwards, server);
    struct client *client = client_open(server->url);
    client_wait_up(client);
    for (uint32_t i = 0; i < 500; i++) {
        client_send(client, i % 250, 4);
    }
    ck_eventually(client->hub, client->ok == 500);
    pthread_join(threads[0], NULL);
    ck_assert(!client->mismatch);
    for (uint32_t i = 0; i < 250; i++) {
        ck_assert_uint_eq(client->ended[i], 2);
    }
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(many_clients_are_served_at_once)
{
    struct server *server = server_open(listen_url(_i));
    struct client *clients[20];
    for (size_t i = 0; i < 20; i++) {
        clients[i] = client_open(server->url);
    }
    for (size_t i = 0; i < 20; i++) {
        client_wait_up(clients[i]);
    }
    for (uint32_t k = 0; k < 200; k++) {
        for (size_t i = 0; i < 20; i++) {
            client_send(clients[i], k, 4 + 10 * k);
        }
    }
    for (size_t i = 0; i < 20; i++) {
        ck_eventually(clients[i]->hub, clients[i]->ok == 200);
        ck_assert(!clients[i]->mismatch);
    }
    ck_assert_uint_eq(server_counts(server).connections, 20);
    for (size_t i = 0; i < 20; i++) {
        client_close(clients[i]);
    }
    server_close(server);
}
END_TEST

START_TEST(what_is_sent_under_one_lock_leaves_together)
{
    struct server *server = server_open(listen_url(_i));
    struct client *client = client_open(server->url);
    client_wait_up(client);
    sc_sp_hub_lock(server->hub);
    size_t drained = server->drained;
    sc_sp_hub_unlock(server->hub);
    sc_sp_hub_lock(client->hub);
    for (uint32_t i = 0; i < 100; i++) {
        client_send_locked(client, i, 4, 0);
    }
    ck_assert_uint_eq(sc_sp_link_in_flight(client->link), 100);
    sc_sp_hub_unlock(client->hub);
    ck_eventually(client->hub, client->ok == 100);
    ck_assert_uint_eq(sc_sp_link_in_flight(client->link), 0);
    /* on_drained ran once for the receive, and with each lock and tick since then. */
    sc_sp_hub_lock(server->hub);
    ck_assert_uint_gt(server->drained, drained);
    sc_sp_hub_unlock(server->hub);
    client_close(client);
    server_close(server);
}
END_TEST

START_TEST(the_tick_goes_on)
{
    struct server *server = server_open(listen_url(_i));
    ck_eventually(server->hub, atomic_load(&server->ticks) >= 3);
    server_close(server);
}
END_TEST

START_TEST(a_timer_goes_off_once)
{
    struct server *server = server_open(listen_url(_i));
    sc_sp_hub_lock(server->hub);
    sc_sp_hub_set_timer(server->hub, sc_clock_mono_ms() + 3600000);
    sc_sp_hub_set_timer(server->hub, sc_clock_mono_ms() + 2); /* the earlier one counts */
    sc_sp_hub_unlock(server->hub);
    ck_eventually(server->hub, atomic_load(&server->timers) == 1);
    size_t ticks = atomic_load(&server->ticks);
    ck_eventually(server->hub, atomic_load(&server->ticks) >= ticks + 2); /* these go on */
    ck_assert_uint_eq(atomic_load(&server->timers), 1U);
    sc_sp_hub_lock(server->hub);
    sc_sp_hub_set_timer(server->hub, 0);
    sc_sp_hub_unlock(server->hub);
    ck_eventually(server->hub, atomic_load(&server->timers) == 2);
    server_close(server);
}
END_TEST

/* ---- Listening ---- */

static void expect_refusal(const char *url, const char *words)
{
    struct sc_sp_hub *hub;
    struct sc_sp_listener *listener;
    char why[SC_WHY_SIZE] = "";
    struct sc_sp_hub_options options = {.message_max = 1000, .descriptor = descriptor()};
    ck_assert_int_eq(sc_sp_hub_open(&options, &hub, why), SC_OK);
    struct sc_sp_listener_options at = {.url = url, .on_request = server_request};
    ck_assert_int_eq(sc_sp_listen(hub, &at, &listener, why), SC_IO);
    ck_assert_msg(strstr(why, words) != NULL && strstr(why, url) != NULL, "%s", why);
    sc_sp_hub_close(hub, 0);
}

START_TEST(an_address_in_use_is_refused_and_its_owner_undisturbed)
{
    struct server *server = server_open(listen_url(_i));
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    for (int i = 0; i < 3; i++) {
        expect_refusal(server->url, "another process listens there");
    }
    raw_echo(fd, _i == 1, 1, "undisturbed");
    int newcomer = raw_connect(server->url);
    raw_handshake(newcomer);
    raw_echo(newcomer, _i == 1, 1, "undisturbed");
    close(newcomer);
    close(fd);
    server_close(server);
}
END_TEST

START_TEST(a_stale_socket_file_is_taken_over)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", ipc_url + 6);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd); /* as a killed process leaves it */
    struct server *server = server_open(ipc_url);
    struct client *client = client_open(ipc_url);
    client_wait_up(client);
    client_close(client);
    server_close(server);
    ck_assert_int_ne(access(at.sun_path, F_OK), 0);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_left_alone)
{
    FILE *file = fopen(ipc_url + 6, "w");
    fputs("precious", file);
    fclose(file);
    expect_refusal(ipc_url, "not a socket");
    struct stat status;
    ck_assert_int_eq(stat(ipc_url + 6, &status), 0);
    ck_assert_int_eq(status.st_size, 8);
}
END_TEST

START_TEST(the_socket_file_has_the_permissions_asked_for)
{
    struct stat status;
    struct server *server = server_open(ipc_url);
    ck_assert_int_eq(stat(ipc_url + 6, &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0600);
    server_close(server);
    server = server_start((struct sc_sp_listener_options){.url = ipc_url, .ipc_permissions = 0666});
    ck_assert_int_eq(stat(ipc_url + 6, &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0666);
    server_close(server);
}
END_TEST

START_TEST(a_stopped_listener_keeps_its_connections)
{
    struct server *server = server_open(listen_url(_i));
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    sc_sp_listener_stop(server->listener);
    raw_echo(fd, _i == 1, 1, "still served");
    struct server *next = server_open(server->url); /* the address is free again */
    close(fd);
    server_close(next);
    server_close(server);
}
END_TEST

START_TEST(a_port_of_zero_becomes_a_real_one)
{
    struct server *server = server_open("tcp://127.0.0.1:0");
    ck_assert_int_eq(strncmp(server->url, "tcp://127.0.0.1:", 16), 0);
    ck_assert_int_gt(atoi(server->url + 16), 0);
    server_close(server);
    server = server_open("tcp://*:0");
    ck_assert_int_gt(atoi(strrchr(server->url, ':') + 1), 0);
    int fd = raw_connect(server->url);
    raw_handshake(fd);
    close(fd);
    server_close(server);
}
END_TEST

START_TEST(addresses_are_checked)
{
    static const struct {
        const char *url;
        bool dial, listen;
    } urls[] = {
        {"tcp://127.0.0.1:7700", true, true},
        {"tcp://localhost:1", true, true},
        {"tcp://[::1]:7700", true, true},
        {"tcp://127.0.0.1:0", false, true},
        {"tcp://*:7700", false, true},
        {"tcp://:7700", false, true},
        {"ipc:///tmp/x", true, true},
        {"tcp://127.0.0.1", false, false},
        {"tcp://127.0.0.1:", false, false},
        {"tcp://127.0.0.1:65536", false, false},
        {"tcp://127.0.0.1:77x", false, false},
        {"tcp://127.0.0.1:-1", false, false},
        {"tcp://::1:7700", false, false},
        {"tcp://a/b:7700", false, false},
        {"ipc://x", false, false},
        {"ipc://", false, false},
        {"ipc:///a%20b", false, false},
        {"tls+tcp://127.0.0.1:7700", false, false},
        {"inproc://x", false, false},
        {"ws://127.0.0.1:80", false, false},
        {"127.0.0.1:7700", false, false},
        {"", false, false},
    };
    char why[SC_WHY_SIZE];
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        for (int to_listen = 0; to_listen < 2; to_listen++) {
            bool good = to_listen ? urls[i].listen : urls[i].dial;
            why[0] = '\0';
            ck_assert_int_eq(sc_sp_url_check(urls[i].url, to_listen, why),
                             good ? SC_OK : SC_BADREQUEST);
            ck_assert(good || why[0] != '\0');
        }
    }
    char path[400] = "ipc:///";
    memset(path + 7, 'p', 101 + 6 - 1);
    ck_assert_int_eq(sc_sp_url_check(path, true, why), SC_OK);
    path[strlen(path)] = 'p';
    ck_assert_int_eq(sc_sp_url_check(path, true, why), SC_BADREQUEST);
    memset(path + 7, 'p', 380);
    ck_assert_int_eq(sc_sp_url_check(path, true, why), SC_BADREQUEST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp");
    TCase *traffic = tcase_create("traffic");
    tcase_add_checked_fixture(traffic, sp_setup, sp_teardown);
    tcase_add_loop_test(traffic, requests_are_answered_over_tcp_and_ipc, 0, 2);
    tcase_add_loop_test(traffic, large_and_small_messages_share_a_connection, 0, 2);
    tcase_add_loop_test(traffic, a_request_may_arrive_byte_by_byte, 0, 2);
    tcase_add_loop_test(traffic, replies_may_come_from_other_threads_in_any_order, 0, 2);
    tcase_add_loop_test(traffic, many_clients_are_served_at_once, 0, 2);
    tcase_add_loop_test(traffic, what_is_sent_under_one_lock_leaves_together, 0, 2);
    tcase_add_loop_test(traffic, the_tick_goes_on, 0, 2);
    tcase_add_loop_test(traffic, a_timer_goes_off_once, 0, 2);
    suite_add_tcase(suite, traffic);
    TCase *listening = tcase_create("listening");
    tcase_add_checked_fixture(listening, sp_setup, sp_teardown);
    tcase_add_loop_test(listening, an_address_in_use_is_refused_and_its_owner_undisturbed, 0, 2);
    tcase_add_test(listening, a_stale_socket_file_is_taken_over);
    tcase_add_test(listening, a_file_that_is_no_socket_is_left_alone);
    tcase_add_test(listening, the_socket_file_has_the_permissions_asked_for);
    tcase_add_loop_test(listening, a_stopped_listener_keeps_its_connections, 0, 2);
    tcase_add_test(listening, a_port_of_zero_becomes_a_real_one);
    tcase_add_test(listening, addresses_are_checked);
    suite_add_tcase(suite, listening);
    return sc_check_main(suite);
}

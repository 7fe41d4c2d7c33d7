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
    client_close(client);
    server_close(server);
}
END_TEST

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

int main(void)
{
    Suite *suite = suite_create("sp");
    TCase *tcase = tcase_create("traffic");
    tcase_add_checked_fixture(tcase, sp_setup, sp_teardown);
    tcase_add_loop_test(tcase, requests_are_answered_over_tcp_and_ipc, 0, 2);
    tcase_add_loop_test(tcase, a_link_comes_back_after_the_server_restarts, 0, 2);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

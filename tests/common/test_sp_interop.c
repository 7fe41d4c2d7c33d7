/* Other implementations of SP on the other side: libnng's own sockets and nngcat. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "tests/common/sp_fixture.h"

/* A server in a thread of its own: libnng's REP socket, which echoes. */
struct nng_server {
    nng_socket socket;
    char url[128];
    pthread_t thread;
};

static void *nng_serve(void *arg)
{
    struct nng_server *server = arg;
    nng_msg *message;
    while (nng_recvmsg(server->socket, &message, 0) == 0) {
        ck_assert_int_eq(nng_sendmsg(server->socket, message, 0), 0);
    }
    return NULL;
}

static struct nng_server *nng_server_open(int which)
{
    struct nng_server *server = calloc(1, sizeof *server);
    nng_listener listener;
    ck_assert_int_eq(nng_rep0_open(&server->socket), 0);
    ck_assert_int_eq(nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, 8u << 20), 0);
    ck_assert_int_eq(nng_listen(server->socket, listen_url(which), &listener, 0), 0);
    char *url;
    ck_assert_int_eq(nng_listener_get_string(listener, NNG_OPT_URL, &url), 0);
    snprintf(server->url, sizeof server->url, "%s", url);
    nng_strfree(url);
    pthread_create(&server->thread, NULL, nng_serve, server);
    return server;
}

static void nng_server_close(struct nng_server *server)
{
    nng_close(server->socket);
    pthread_join(server->thread, NULL);
    free(server);
}

static nng_socket nng_client_open(const char *url)
{
    nng_socket socket;
    ck_assert_int_eq(nng_req0_open(&socket), 0);
    ck_assert_int_eq(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 8u << 20), 0);
    ck_assert_int_eq(nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, PATIENCE_MS), 0);
    ck_assert_int_eq(nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, PATIENCE_MS), 0);
    ck_assert_int_eq(nng_dial(socket, url, NULL, 0), 0);
    return socket;
}

START_TEST(a_nng_req_socket_is_served)
{
    struct server *server = server_open(listen_url(_i));
    nng_socket socket = nng_client_open(server->url);
    uint8_t *body = calloc(1, SERVER_MESSAGE_MAX);
    for (size_t size = 0; size <= SERVER_MESSAGE_MAX; size = size * 3 + 1) {
        memset(body, (int)(size & 0xff), size);
        ck_assert_int_eq(nng_send(socket, body, size, 0), 0);
        void *reply;
        size_t reply_size;
        ck_assert_int_eq(nng_recv(socket, &reply, &reply_size, NNG_FLAG_ALLOC), 0);
        ck_assert_uint_eq(reply_size, size);
        ck_assert(size == 0 || memcmp(reply, body, size) == 0);
        nng_free(reply, reply_size);
    }
    free(body);
    nng_close(socket);
    server_close(server);
}
END_TEST

#define CONTEXTS 32

/* Many contexts of one nng socket have requests on one connection at once. */
START_TEST(nng_contexts_share_a_connection)
{
    struct server *server = server_open(listen_url(_i));
    nng_socket socket = nng_client_open(server->url);
    nng_ctx contexts[CONTEXTS];
    nng_aio *aio[CONTEXTS];
    for (size_t i = 0; i < CONTEXTS; i++) {
        ck_assert_int_eq(nng_ctx_open(&contexts[i], socket), 0);
        ck_assert_int_eq(nng_aio_alloc(&aio[i], NULL, NULL), 0);
        nng_aio_set_timeout(aio[i], PATIENCE_MS);
    }
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < CONTEXTS; i++) {
            nng_msg *message;
            ck_assert_int_eq(nng_msg_alloc(&message, 0), 0);
            nng_msg_append_u32(message, (uint32_t)i * 1000 + (uint32_t)round);
            nng_aio_set_msg(aio[i], message);
            nng_ctx_send(contexts[i], aio[i]);
            nng_aio_wait(aio[i]);
            ck_assert_int_eq(nng_aio_result(aio[i]), 0);
            nng_ctx_recv(contexts[i], aio[i]);
        }
        for (size_t i = 0; i < CONTEXTS; i++) {
            nng_aio_wait(aio[i]);
            ck_assert_int_eq(nng_aio_result(aio[i]), 0);
            nng_msg *message = nng_aio_get_msg(aio[i]);
            uint32_t number;
            ck_assert_int_eq(nng_msg_trim_u32(message, &number), 0);
            ck_assert_uint_eq(number, i * 1000 + (uint32_t)round);
            nng_msg_free(message);
        }
    }
    for (size_t i = 0; i < CONTEXTS; i++) {
        nng_aio_free(aio[i]);
    }
    ck_assert_uint_eq(server_counts(server).accepted, 1);
    nng_close(socket);
    server_close(server);
}
END_TEST

START_TEST(a_nng_req_socket_finds_a_restarted_server)
{
    struct server *server = server_open(listen_url(_i));
    char url[300];
    snprintf(url, sizeof url, "%s", server->url);
    nng_socket socket = nng_client_open(url);
    ck_assert_int_eq(nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 10), 0);
    server_close(server);
    server = server_open(url);
    ck_assert_int_eq(nng_send(socket, (char[]){"again"}, 5, 0), 0);
    char reply[5];
    size_t size = sizeof reply;
    ck_assert_int_eq(nng_recv(socket, reply, &size, 0), 0);
    ck_assert_mem_eq(reply, "again", 5);
    nng_close(socket);
    server_close(server);
}
END_TEST

START_TEST(a_link_speaks_to_a_nng_rep_socket)
{
    struct nng_server *server = nng_server_open(_i);
    struct client *client = client_open(server->url);
    client_wait_up(client);
    for (uint32_t i = 0; i < 200; i++) {
        client_send(client, i, 4 + 100 * i);
    }
    client_send(client, 200, 3u << 20);
    ck_eventually(client->hub, client->ok == 201);
    for (uint32_t i = 0; i <= 200; i++) {
        ck_assert_uint_eq(client->ended[i], 1);
    }
    ck_assert(!client->mismatch);
    client_close(client);
    nng_server_close(server);
}
END_TEST

START_TEST(nngcat_is_served)
{
    if (access("/usr/bin/nngcat", X_OK) != 0) {
        return; /* package nng-utils is not there */
    }
    struct server *server = server_open(listen_url(_i));
    char command[500], line[100];
    snprintf(command, sizeof command,
             "nngcat --req --dial %s --data 'hello, cat' --quoted --recv-timeout 20", server->url);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, pipe));
    ck_assert_str_eq(line, "\"hello, cat\"\n");
    ck_assert_int_eq(pclose(pipe), 0);
    server_close(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_interop");
    TCase *tcase = tcase_create("interop");
    tcase_add_checked_fixture(tcase, sp_setup, sp_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_nng_req_socket_is_served, 0, 2);
    tcase_add_loop_test(tcase, nng_contexts_share_a_connection, 0, 2);
    tcase_add_loop_test(tcase, a_nng_req_socket_finds_a_restarted_server, 0, 2);
    tcase_add_loop_test(tcase, a_link_speaks_to_a_nng_rep_socket, 0, 2);
    tcase_add_loop_test(tcase, nngcat_is_served, 0, 2);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

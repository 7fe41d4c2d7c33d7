/* libnng hands out no descriptors: that we find the right one all the same. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sp_descriptor.h"
#include "tests/check_main.h"

struct pair {
    nng_stream *dialled, *accepted;
    nng_stream_listener *listener;
    nng_stream_dialer *dialer;
    nng_aio *accept, *dial;
};

static nng_stream *finish(nng_aio *aio)
{
    nng_aio_wait(aio);
    ck_assert_int_eq(nng_aio_result(aio), 0);
    return nng_aio_get_output(aio, 0);
}

static void connect_pair(struct pair *pair, const char *url)
{
    char bound[64];
    int port;
    ck_assert_int_eq(nng_aio_alloc(&pair->accept, NULL, NULL), 0);
    ck_assert_int_eq(nng_aio_alloc(&pair->dial, NULL, NULL), 0);
    ck_assert_int_eq(nng_stream_listener_alloc(&pair->listener, url), 0);
    ck_assert_int_eq(nng_stream_listener_listen(pair->listener), 0);
    if (nng_stream_listener_get_int(pair->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0) {
        snprintf(bound, sizeof bound, "tcp://127.0.0.1:%d", port);
        url = bound;
    }
    ck_assert_int_eq(nng_stream_dialer_alloc(&pair->dialer, url), 0);
    nng_stream_listener_accept(pair->listener, pair->accept);
    nng_stream_dialer_dial(pair->dialer, pair->dial);
    pair->accepted = finish(pair->accept);
    pair->dialled = finish(pair->dial);
}

static void close_pair(struct pair *pair)
{
    nng_stream_free(pair->accepted);
    nng_stream_free(pair->dialled);
    nng_stream_listener_free(pair->listener);
    nng_stream_dialer_free(pair->dialer);
    nng_aio_free(pair->accept);
    nng_aio_free(pair->dial);
}

/* What is written to the one descriptor arrives at the other stream. */
static void expect_connected(nng_stream *from, nng_stream *to, bool ipc)
{
    char sent = 'x';
    char got = 0;
    nng_iov iov = {&got, 1};
    nng_aio *aio;
    ck_assert_int_eq(write(sc_sp_descriptor(from, ipc), &sent, 1), 1);
    ck_assert_int_eq(nng_aio_alloc(&aio, NULL, NULL), 0);
    ck_assert_int_eq(nng_aio_set_iov(aio, 1, &iov), 0);
    nng_stream_recv(to, aio);
    nng_aio_wait(aio);
    ck_assert_int_eq(nng_aio_result(aio), 0);
    ck_assert_int_eq(got, sent);
    nng_aio_free(aio);
}

static void expect_descriptors(const char *url, bool ipc)
{
    struct pair first = {0};
    struct pair second = {0};
    connect_pair(&first, url);
    expect_connected(first.dialled, first.accepted, ipc);
    expect_connected(first.accepted, first.dialled, ipc);
    if (!ipc) {
        connect_pair(&second, url);
        expect_connected(second.dialled, second.accepted, ipc);
        expect_connected(first.dialled, first.accepted, ipc);
        close_pair(&second);
    }
    close_pair(&first);
}

START_TEST(the_descriptor_of_a_tcp_stream_is_found)
{
    expect_descriptors("tcp://127.0.0.1:0", false);
}
END_TEST

START_TEST(the_descriptor_of_an_ipc_stream_is_found)
{
    char directory[] = "/tmp/descriptor.XXXXXX";
    char url[64];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(url, sizeof url, "ipc://%s/s", directory);
    expect_descriptors(url, true);
    unlink(url + 6);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(options_of_sockets_can_be_asked_for_as_ever)
{
    int value = -1;
    socklen_t size = sizeof value;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &size), 0);
    ck_assert_int_eq(value, SOCK_STREAM);
    close(fd);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &size), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_descriptor");
    TCase *tcase = tcase_create("sp_descriptor");
    tcase_add_test(tcase, the_descriptor_of_a_tcp_stream_is_found);
    tcase_add_test(tcase, the_descriptor_of_an_ipc_stream_is_found);
    tcase_add_test(tcase, options_of_sockets_can_be_asked_for_as_ever);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

/* libnng hands out no descriptors: that we find the right one all the same, in two ways. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sp.h"
#include "common/sp_descriptor.h"
#include "common/sp_lookup.h"
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

static void listen_at(struct pair *pair, const char *url)
{
    ck_assert_int_eq(nng_aio_alloc(&pair->accept, NULL, NULL), 0);
    ck_assert_int_eq(nng_aio_alloc(&pair->dial, NULL, NULL), 0);
    ck_assert_int_eq(nng_stream_listener_alloc(&pair->listener, url), 0);
    ck_assert_int_eq(nng_stream_listener_listen(pair->listener), 0);
}

static void connect_to(struct pair *pair, const char *url)
{
    ck_assert_int_eq(nng_stream_dialer_alloc(&pair->dialer, url), 0);
    nng_stream_listener_accept(pair->listener, pair->accept);
    nng_stream_dialer_dial(pair->dialer, pair->dial);
    pair->accepted = finish(pair->accept);
    pair->dialled = finish(pair->dial);
}

static void connect_pair(struct pair *pair, const char *url)
{
    char bound[64];
    int port;
    listen_at(pair, url);
    if (nng_stream_listener_get_int(pair->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0) {
        snprintf(bound, sizeof bound, "tcp://%s:%d",
                 strchr(url, '[') != NULL ? "[::1]" : "127.0.0.1", port);
        url = bound;
    }
    connect_to(pair, url);
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
static void expect_connected(sc_sp_descriptor_fn *descriptor, nng_stream *from, nng_stream *to,
                             bool ipc)
{
    char sent = 'x';
    char got = 0;
    nng_iov iov = {&got, 1};
    nng_aio *aio;
    ck_assert_int_eq(write(descriptor(from, ipc), &sent, 1), 1);
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
    expect_connected(sc_sp_descriptor, first.dialled, first.accepted, ipc);
    expect_connected(sc_sp_descriptor, first.accepted, first.dialled, ipc);
    if (!ipc) {
        connect_pair(&second, url);
        expect_connected(sc_sp_descriptor, second.dialled, second.accepted, ipc);
        expect_connected(sc_sp_descriptor, first.dialled, first.accepted, ipc);
        close_pair(&second);
    }
    close_pair(&first);
}

START_TEST(the_descriptor_of_a_tcp_stream_is_found)
{
    expect_descriptors("tcp://127.0.0.1:0", false);
}
END_TEST

/* An ipc address in a directory of its own. */
static void begin_ipc(char directory[32], char url[64])
{
    snprintf(directory, 32, "/tmp/descriptor.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(url, 64, "ipc://%s/s", directory);
}

static void end_ipc(const char *directory, const char *url)
{
    unlink(url + strlen("ipc://"));
    ck_assert_int_eq(rmdir(directory), 0);
}

START_TEST(the_descriptor_of_an_ipc_stream_is_found)
{
    char directory[32];
    char url[64];
    begin_ipc(directory, url);
    expect_descriptors(url, true);
    end_ipc(directory, url);
}
END_TEST

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return has;
}

START_TEST(dialled_tcp_streams_are_looked_up_by_their_addresses)
{
    struct pair first = {0};
    struct pair second = {0};
    const char *url = _i == 1 && has_ipv6() ? "tcp://[::1]:0" : "tcp://127.0.0.1:0";
    connect_pair(&first, url);
    connect_pair(&second, url);
    expect_connected(sc_sp_lookup, first.dialled, first.accepted, false);
    expect_connected(sc_sp_lookup, second.dialled, second.accepted, false);
    close_pair(&second);
    close_pair(&first);
}
END_TEST

START_TEST(a_dialled_ipc_stream_is_looked_up_if_it_is_the_only_one)
{
    char directory[32];
    char url[64];
    struct pair pair = {0};
    begin_ipc(directory, url);
    connect_pair(&pair, url);
    expect_connected(sc_sp_lookup, pair.dialled, pair.accepted, true);

    nng_stream_listener_accept(pair.listener, pair.accept);
    nng_stream_dialer_dial(pair.dialer, pair.dial);
    nng_stream *accepted = finish(pair.accept);
    nng_stream *dialled = finish(pair.dial);
    ck_assert_int_eq(sc_sp_lookup(pair.dialled, true), -1);
    ck_assert_int_eq(sc_sp_lookup(dialled, true), -1);
    nng_stream_free(dialled);
    nng_stream_free(accepted);

    close_pair(&pair);
    end_ipc(directory, url);
}
END_TEST

/* The system goes on telling the name that a socket was bound to. */
START_TEST(a_dialled_ipc_stream_is_looked_up_although_its_address_was_renamed)
{
    char directory[32];
    char url[64];
    char bound[80];
    struct pair pair = {0};
    begin_ipc(directory, url);
    snprintf(bound, sizeof bound, "%s.new", url);
    listen_at(&pair, bound);
    ck_assert_int_eq(rename(bound + strlen("ipc://"), url + strlen("ipc://")), 0);
    connect_to(&pair, url);
    expect_connected(sc_sp_lookup, pair.dialled, pair.accepted, true);
    close_pair(&pair);
    end_ipc(directory, url);
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
    tcase_add_loop_test(tcase, dialled_tcp_streams_are_looked_up_by_their_addresses, 0, 2);
    tcase_add_test(tcase, a_dialled_ipc_stream_is_looked_up_if_it_is_the_only_one);
    tcase_add_test(tcase, a_dialled_ipc_stream_is_looked_up_although_its_address_was_renamed);
    tcase_add_test(tcase, options_of_sockets_can_be_asked_for_as_ever);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

/* A client of libnanomsg against our server. The server is another process, bench_sp: libnng and
 * libnanomsg export functions of the same names and cannot share one. */
#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check_main.h"

static char directory[64];
static char url[128];
static pid_t server;

static void start_server(void)
{
    snprintf(directory, sizeof directory, "/tmp/sp.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(url, sizeof url, "ipc://%s/s", directory);
    char *arguments[] = {(char *)BENCH_SP, (char *)"serve", url, NULL};
    extern char **environ;
    ck_assert_int_eq(posix_spawn(&server, BENCH_SP, NULL, NULL, arguments, environ), 0);
}

static void stop_server(void)
{
    int status;
    kill(server, SIGTERM);
    ck_assert_int_eq(waitpid(server, &status, 0), server);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(rmdir(directory), 0); /* the socket file is gone */
}

START_TEST(a_nanomsg_req_socket_is_served)
{
    int socket = nn_socket(AF_SP, NN_REQ);
    ck_assert_int_ge(socket, 0);
    int patience_ms = 20000;
    nn_setsockopt(socket, NN_SOL_SOCKET, NN_RCVTIMEO, &patience_ms, sizeof patience_ms);
    nn_setsockopt(socket, NN_SOL_SOCKET, NN_SNDTIMEO, &patience_ms, sizeof patience_ms);
    int limit = -1;
    nn_setsockopt(socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &limit, sizeof limit);
    ck_assert_int_ge(nn_connect(socket, url), 0);
    for (size_t size = 0; size < (1u << 20); size = 3 * size + 1) {
        char *body = calloc(1, size + 1);
        memset(body, (int)(size & 0xff), size);
        ck_assert_int_eq(nn_send(socket, body, size, 0), (int)size);
        char *reply;
        ck_assert_int_eq(nn_recv(socket, &reply, NN_MSG, 0), (int)size);
        ck_assert(memcmp(reply, body, size) == 0);
        nn_freemsg(reply);
        free(body);
    }
    nn_close(socket);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sp_nanomsg");
    TCase *tcase = tcase_create("nanomsg");
    tcase_add_checked_fixture(tcase, start_server, stop_server);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_nanomsg_req_socket_is_served);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}

"""Clients that are not ours: nngcat, and programs with libnanomsg and libnng."""

import os
import shutil
import subprocess
import sysconfig
import unittest

import harness
from harness import OK, SharedFleetTest, pack, unpack

NANOMSG_CLIENT = r"""
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <stdio.h>
#include <string.h>

/* Sends each request (hexadecimal, one an argument) over one socket and prints the replies. */
int main(int argc, char **argv)
{
    int resend = 600000;
    int timeout = 20000;
    int sock = nn_socket(AF_SP, NN_REQ);
    nn_setsockopt(sock, NN_REQ, NN_REQ_RESEND_IVL, &resend, sizeof resend);
    nn_setsockopt(sock, NN_SOL_SOCKET, NN_RCVTIMEO, &timeout, sizeof timeout);
    if (sock < 0 || nn_connect(sock, argv[1]) < 0) {
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        unsigned char request[65536];
        size_t size = strlen(argv[i]) / 2;
        for (size_t at = 0; at < size; at++) {
            sscanf(argv[i] + 2 * at, "%2hhx", &request[at]);
        }
        unsigned char *reply = NULL;
        if (nn_send(sock, request, size, 0) < 0) {
            return 2;
        }
        int got = nn_recv(sock, &reply, NN_MSG, 0);
        if (got < 0) {
            return 3;
        }
        for (int at = 0; at < got; at++) {
            printf("%02x", reply[at]);
        }
        printf("\n");
        nn_freemsg(reply);
    }
    nn_close(sock);
    return 0;
}
"""


NNG_CLIENT = r"""
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <string.h>

/* As above, but each request has a context of its own, and all are in flight at a time. */
int main(int argc, char **argv)
{
    static nng_ctx contexts[4096];
    static nng_aio *aios[4096];
    nng_socket sock;
    if (nng_req0_open(&sock) != 0 || nng_socket_set_ms(sock, NNG_OPT_REQ_RESENDTIME, 600000) != 0 ||
        nng_dial(sock, argv[1], NULL, 0) != 0) {
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        size_t size = strlen(argv[i]) / 2;
        nng_msg *message;
        if (nng_ctx_open(&contexts[i], sock) != 0 || nng_msg_alloc(&message, size) != 0 ||
            nng_aio_alloc(&aios[i], NULL, NULL) != 0) {
            return 2;
        }
        for (size_t at = 0; at < size; at++) {
            sscanf(argv[i] + 2 * at, "%2hhx", (unsigned char *)nng_msg_body(message) + at);
        }
        nng_aio_set_timeout(aios[i], 20000);
        nng_aio_set_msg(aios[i], message);
        nng_ctx_send(contexts[i], aios[i]);
        nng_aio_wait(aios[i]);
        if (nng_aio_result(aios[i]) != 0) {
            return 3;
        }
        nng_ctx_recv(contexts[i], aios[i]);
    }
    for (int i = 2; i < argc; i++) {
        nng_aio_wait(aios[i]);
        if (nng_aio_result(aios[i]) != 0) {
            return 4;
        }
        nng_msg *reply = nng_aio_get_msg(aios[i]);
        const unsigned char *bytes = nng_msg_body(reply);
        for (size_t at = 0; at < nng_msg_len(reply); at++) {
            printf("%02x", bytes[at]);
        }
        printf("\n");
        nng_msg_free(reply);
        nng_aio_free(aios[i]);
    }
    nng_close(sock);
    return 0;
}
"""
COMPILER = os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()[0]


def can_build(header):
    return os.path.exists("/usr/include/" + header) and shutil.which(COMPILER) is not None


class NngcatTest(SharedFleetTest):
    def nngcat(self, url, *request):
        path = os.path.join(self.fleet.dir, "request")
        with open(path, "wb") as out:
            out.write(pack(list(request)))
        done = subprocess.run(["nngcat", "--req", "--dial", url, "--file", path, "--raw",
                               "--recv-timeout", "20"], stdout=subprocess.PIPE, check=True, timeout=60)
        return unpack(done.stdout)

    @unittest.skipUnless(shutil.which("nngcat"), "nngcat is not installed")
    def test_nngcat(self):
        for url in (self.fleet.url, self.fleet.ipc):
            self.assertEqual(self.nngcat(url, "ping")[:2], [0, "shardcask"])
            self.assertEqual(self.nngcat(url, "put", b"k", {"a": [1, None, b"\x00"]})[0], OK)
            self.assertEqual(self.nngcat(url, "get", "k"), [OK, {"a": [1, None, b"\x00"]}])
            self.assertEqual(self.nngcat(url, "get", b"absent")[0], 1)
            large = bytes(1 << 20)
            self.assertEqual(self.nngcat(url, "put", b"large", large)[0], OK)
            self.assertEqual(self.nngcat(url, "get", b"large"), [OK, large])
        self.assertEqual(self.nngcat(self.fleet.shards[0].url, "ping")[:2], [0, "shardcask"])


class ProgramTest(SharedFleetTest):
    """A client that is compiled for the test; without a source there is nothing to do."""

    source = library = None

    @classmethod
    def setUpClass(cls):
        if cls.source is None:
            raise unittest.SkipTest("for others to derive from")
        super().setUpClass()
        path = os.path.join(cls.fleet.dir, "client.c")
        cls.program = os.path.join(cls.fleet.dir, "client")
        with open(path, "w", encoding="ascii") as out:
            out.write(cls.source)
        subprocess.run([COMPILER, "-o", cls.program, path, cls.library], check=True)

    @classmethod
    def tearDownClass(cls):
        if cls.source is not None:
            super().tearDownClass()

    def ask(self, url, *requests):
        ran = harness.run([self.program, url] + [pack(list(r)).hex() for r in requests])
        self.assertEqual(ran.code, 0, ran)
        return [unpack(bytes.fromhex(line)) for line in ran.out.splitlines()]


@unittest.skipUnless(can_build("nanomsg/nn.h"), "libnanomsg-dev and a compiler are not installed")
class NanomsgTest(ProgramTest):
    source, library = NANOMSG_CLIENT, "-lnanomsg"

    def test_every_operation_on_data(self):
        for url in (self.fleet.url, self.fleet.ipc):
            replies = self.ask(url, ["put", b"n", 5], ["incr", b"n"], ["get", b"n"], ["nonsense"],
                               ["mget", [b"n", b"absent"]], ["del", b"n"], ["exists", b"n"],
                               ["mput", [[b"a", 1], [b"b", 2, {"ttl_ms": 60000}]]], ["meta", b"b"],
                               ["touch", b"b", None], ["batch", [["get", b"a"], ["incr", b"b", 5]]],
                               ["count"], ["scan", None, {"limit": 10}], ["mdel", [b"a", b"x"]],
                               ["clear"], ["count"])
            self.assertEqual([r[0] for r in replies], [0, 0, 0, 2] + [0] * 12)
            self.assertEqual(replies[1:3], [[0, 6], [0, 6]])
            self.assertEqual([item[0] for item in replies[4][1]], [0, 1])
            self.assertEqual(replies[5:7], [[0, True], [0, False]])
            self.assertEqual(replies[8][1]["size"], 1)
            self.assertEqual(replies[10:12], [[0, [[0, 1], [0, 7]]], [0, 2]])
            self.assertEqual(sorted(replies[12][2]), [b"a", b"b"])
            self.assertEqual(replies[13:], [[0, [[0, True], [0, False]]], [0, 1], [0, 0]])


@unittest.skipUnless(can_build("nng/protocol/reqrep0/req.h"), "a compiler is not installed")
class NngTest(ProgramTest):
    """libnng's own REQ socket, many requests at a time."""

    source, library = NNG_CLIENT, "-lnng"

    def test_many_in_flight(self):
        for url in (self.fleet.url, self.fleet.ipc):
            replies = self.ask(url, *[["put", b"k%d" % n, n] for n in range(500)])
            self.assertEqual({reply[0] for reply in replies}, {OK})
            replies = self.ask(url, *[["get", b"k%d" % n] for n in range(600)])
            self.assertEqual(replies[:500], [[OK, n] for n in range(500)])
            self.assertEqual({reply[0] for reply in replies[500:]}, {1})
            replies = self.ask(url, *([["incr", b"n"]] * 300))
            self.assertEqual(sorted(reply[1] for reply in replies), list(range(1, 301)))
            replies = self.ask(url, *[["mput", [[b"m%d-%d" % (n, i), i] for i in range(20)]]
                                      for n in range(50)])
            self.assertEqual({item[0] for reply in replies for item in reply[1]}, {OK})
            replies = self.ask(url, ["count"], ["nonsense"], ["get", b"k7"], ["mget", [b"m7-7"]],
                               ["scan", None], ["stats"], ["map"], ["sync"])
            self.assertEqual([reply[0] for reply in replies], [0, 2, 0, 0, 0, 0, 0, 0])
            self.assertEqual(replies[0][1], 500 + 1 + 1000)
            self.assertEqual(self.ask(url, ["clear"]), [[OK, 1501]])


if __name__ == "__main__":
    harness.main()

"""Clients that are not ours: nngcat, and a program with libnanomsg."""

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


def nanomsg_is_there():
    header = os.path.exists("/usr/include/nanomsg/nn.h")
    return header and shutil.which(os.environ.get("CC", "cc")) is not None


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


@unittest.skipUnless(nanomsg_is_there(), "libnanomsg-dev and a compiler are not installed")
class NanomsgTest(SharedFleetTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source = os.path.join(cls.fleet.dir, "client.c")
        cls.program = os.path.join(cls.fleet.dir, "client")
        with open(source, "w", encoding="ascii") as out:
            out.write(NANOMSG_CLIENT)
        compiler = os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()[0]
        subprocess.run([compiler, "-o", cls.program, source, "-lnanomsg"], check=True)

    def ask(self, url, *requests):
        ran = harness.run([self.program, url] + [pack(list(r)).hex() for r in requests])
        self.assertEqual(ran.code, 0, ran)
        return [unpack(bytes.fromhex(line)) for line in ran.out.splitlines()]

    def test_nanomsg(self):
        for url in (self.fleet.url, self.fleet.ipc):
            replies = self.ask(url, ["put", b"n", 5], ["incr", b"n"], ["get", b"n"], ["nonsense"],
                               ["mget", [b"n", b"absent"]], ["del", b"n"])
            self.assertEqual([r[0] for r in replies], [0, 0, 0, 2, 0, 0])
            self.assertEqual(replies[1:3], [[0, 6], [0, 6]])
            self.assertEqual([item[0] for item in replies[4][1]], [0, 1])


if __name__ == "__main__":
    harness.main()

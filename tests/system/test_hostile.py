"""Garbage, hostile frames and rude clients against a coordinator and a shard, while a healthy client
goes on. Afterwards the daemons serve as before and have not grown."""

import os
import random
import socket
import struct
import threading

import harness
from harness import (OK, PATIENCE, TOOLARGE, Client, Lost, SystemTest, Worker, pack, wait_for)

HELLO = b"\0SP\0\0\x30\0\0"
REQUEST_ID = b"\x80\0\0\x01"


class HostileTest(SystemTest):
    def setUp(self):
        super().setUp()
        self.db = self.fleet(shards=2)
        self.healthy = self.db.client()
        self.stop = threading.Event()
        self.served = 0
        self.worker = Worker(self.go_on)

    def go_on(self):
        """The healthy client: everything is answered, and soon."""
        number = 0
        with Client(self.db.url) as client:
            while not self.stop.is_set():
                number += 1
                client.ok("put", b"healthy", number)
                assert client.ok("get", b"healthy") == number
                self.served = number

    def tearDown(self):
        self.stop.set()
        try:
            self.worker.join()
            self.assertTrue(all(d.running() for d in self.daemons), "a daemon died")
            for daemon in self.daemons:
                with Client(daemon.url) as client:
                    self.assertEqual(client.call("ping")[0], OK)
        finally:
            super().tearDown()

    def targets(self):
        """Addresses to be rude to: over TCP, over IPC, and a shard directly."""
        return [self.db.url, self.db.ipc, self.db.shards[0].url]

    def descriptors(self):
        return sum(len(os.listdir("/proc/%d/fd" % d.process.pid)) for d in self.daemons)

    def memory(self):
        """Resident bytes of all daemons."""
        total = 0
        for daemon in self.daemons:
            with open("/proc/%d/statm" % daemon.process.pid, encoding="ascii") as statm:
                total += int(statm.read().split()[1]) * 4096
        return total

    def connect(self, url):
        """A bare socket."""
        if url.startswith("ipc://"):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(url[6:])
        else:
            host, port = url[6:].rsplit(":", 1)
            sock = socket.create_connection((host, int(port)))
        sock.settimeout(10 * PATIENCE)
        return sock

    def head(self, url, size):
        return (b"\x01" if url.startswith("ipc://") else b"") + struct.pack(">Q", size)

    def send_and_see(self, url, data):
        """Sends bytes on a new connection and takes what comes until it closes, or for a moment."""
        sock = self.connect(url)
        got = b""
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while True:
                part = sock.recv(65536)
                if not part:
                    break
                got += part
        except OSError:
            pass
        finally:
            sock.close()
        return got

    def still_served(self, more=20):
        target = self.served + more
        wait_for(lambda: self.served >= target or self.worker.error, "the healthy client to go on")

    def test_wrong_handshakes(self):
        for url in self.targets():
            for hello in (b"", b"\0", b"\0SP\0\0\x31\0\0", b"\0SP\0\0\x10\0\0", b"\0SP\x01\0\x30\0\0",
                          b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 8, b"\0SP\0\0\x30\0\1",
                          os.urandom(8), b"\0" * 4096, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
                self.send_and_see(url, hello)
        self.still_served()

    def test_frames_that_lie(self):
        for url in self.targets():
            for size in (2 ** 64 - 1, 2 ** 64 - 32, 2 ** 63, 2 ** 63 - 1, 2 ** 40, (64 << 20) + 1 + 4,
                         0, 1, 3):
                got = self.send_and_see(url, HELLO + self.head(url, size) + REQUEST_ID * 4)
                self.assertLessEqual(len(got), 8, size)
            if url.startswith("ipc://"):
                for marker in (b"\0", b"\2", b"\xff"):
                    got = self.send_and_see(url, HELLO + marker + struct.pack(">Q", 10) + b"x" * 10)
                    self.assertLessEqual(len(got), 8)
            # No request id at all, or too many hops.
            self.send_and_see(url, HELLO + self.head(url, 8) + b"\0" * 8)
            self.send_and_see(url, HELLO + self.head(url, 4000) + b"\0" * 4000)
        self.still_served()

    def test_a_message_over_the_limit_closes_the_connection(self):
        limit = 64 << 20
        for url in self.targets():
            if url == self.db.shards[0].url:
                limit += 1 << 16  # a shard has room for what a coordinator puts around a message
            # Told by its length alone, and after it came whole with one byte too many.
            with Client(url) as client:
                client.send_raw(self.head(url, limit + 4 + 1000))
                self.assertRaises(Lost, client.read, 1)
            with Client(url) as client:
                with self.assertRaises(Lost):
                    client.send_body(b"\x92\xa3get\xc6" + struct.pack(">I", limit - 9) + bytes(limit - 9))
                    client.read(1)
            # The largest message that is allowed is read, and answered.
            with Client(url) as client:
                body = b"\x92\xa3get\xc6" + struct.pack(">I", limit - 10) + bytes(limit - 10)
                self.assertEqual(len(body), limit)
                self.assertEqual(client.call_body(body)[0], TOOLARGE)
        self.still_served()

    def test_frames_cut_short(self):
        body = pack(["put", b"cut", "x" * 1000])
        for url in self.targets():
            whole = HELLO + self.head(url, len(body) + 4) + REQUEST_ID + body
            for end in list(range(0, 40)) + [100, 500, len(whole) - 1]:
                self.send_and_see(url, whole[:end])
        self.assertEqual(self.healthy.call("exists", b"cut"), [0, False])
        self.still_served()

    def test_byte_by_byte(self):
        for url in self.targets():
            sock = self.connect(url)
            body = pack(["ping"])
            for byte in HELLO + self.head(url, len(body) + 4) + REQUEST_ID + body:
                sock.sendall(bytes([byte]))
            got = b""
            while b"shardcask" not in got:
                part = sock.recv(1000)
                self.assertTrue(part)
                got += part
            sock.close()
        self.still_served()

    def test_random_bodies(self):
        dice = random.Random(4711)
        samples = [pack(r) for r in (["put", b"h-key", {"a": [1, 2, {"b": None}]}, {"ttl_ms": 5000}],
                                     ["mput", [[b"h-a", 1], [b"h-b", 2, {"if_version": 0}]]],
                                     ["batch", [["get", b"h-a"], ["incr", b"h-n", 5]]],
                                     ["scan", None, {"prefix": b"x", "limit": 5, "values": True}],
                                     ["mget", [b"h-a", b"h-b"]], ["touch", b"h-a", None])]
        for url in self.targets():
            with Client(url) as client:
                for _ in range(1500):
                    body = bytearray(dice.choice(samples))
                    for _ in range(dice.randrange(1, 4)):
                        what = dice.randrange(4)
                        at = dice.randrange(len(body)) if body else 0
                        if what == 0 and body:
                            body[at] = dice.randrange(256)
                        elif what == 1:
                            body = body[:at]
                        elif what == 2:
                            body[at:at] = dice.randbytes(dice.randrange(1, 9))
                        elif body:
                            del body[at:at + dice.randrange(1, 5)]
                    reply = client.call_body(bytes(body))
                    self.assertIsInstance(reply[0], int)
                    if reply[0] != OK:
                        self.assertIsInstance(reply[1], str)
        self.still_served()

    def test_msgpack_bombs(self):
        bombs = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x93\xa3put\xa1k\xdd\x7f\xff\xff\xff",
                 b"\x92\xa4mget\xdd\x0f\xff\xff\xff", b"\x92\xa5batch\xdd\xff\xff\xff\xff",
                 b"\x93\xa3put\xa1k" + b"\xdd\x00\x00\xff\xff" * 1000,
                 b"\x93\xa3put\xa1k" + b"\x91" * 1000000, b"\x92" * 1000000,
                 b"\x93\xa3put\xa1k\xc6\xff\xff\xff\xff", b"\x93\xa3put\xa1k\xc9\xff\xff\xff\xff\x01",
                 b"\x92\xa4mget\xdd\x00\x01\x00\x00" + b"\xc0" * 0x10000]
        before = self.memory()
        for url in self.targets():
            with Client(url) as client:
                for bomb in bombs * 3:
                    self.assertIsInstance(client.call_body(bomb)[0], int)
        self.still_served()
        if PATIENCE == 1:  # sanitizers keep freed memory
            self.assertLess(self.memory() - before, 400 << 20)

    def test_connections_that_end_rudely(self):
        before = self.descriptors()
        linger = struct.pack("ii", 1, 0)
        request = pack(["get", b"healthy"])
        for url in self.targets():
            frame = self.head(url, len(request) + 4) + REQUEST_ID + request
            for turn in range(150):
                sock = self.connect(url)
                if turn % 5 == 1:  # a handshake, and away
                    sock.sendall(HELLO)
                elif turn % 5 == 2:  # several requests, no answer read
                    sock.sendall(HELLO + frame * 5)
                elif turn % 5 == 3 and url.startswith("tcp"):  # a reset
                    sock.sendall(HELLO + frame)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                elif turn % 5 == 4:  # half closed, then a reset
                    sock.shutdown(socket.SHUT_WR)
                    if url.startswith("tcp"):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.close()
        self.still_served()
        wait_for(lambda: self.descriptors() <= before + 10, "the connections to be gone")

    def test_clients_that_never_read(self):
        self.healthy.ok("put", b"large", bytes(1 << 20))
        before = self.memory()
        rude = []
        request = pack(["get", b"large"])
        for url in self.targets():
            for _ in range(3):
                sock = self.connect(url)
                sock.setblocking(False)
                frame = self.head(url, len(request) + 4) + REQUEST_ID + request
                try:
                    sock.send(HELLO + frame * 200)
                except BlockingIOError:
                    pass
                rude.append(sock)
        self.still_served(200)
        if PATIENCE == 1:
            self.assertLess(self.memory() - before, 1 << 30)
        for sock in rude:
            sock.close()
        self.still_served()

    def test_clients_that_vanish_inside_a_large_reply(self):
        self.healthy.ok("put", b"large", bytes(8 << 20))
        before = self.descriptors()
        request = pack(["get", b"large"])
        for url in self.targets()[:2]:
            for _ in range(30):
                sock = self.connect(url)
                sock.sendall(HELLO + self.head(url, len(request) + 4) + REQUEST_ID + request)
                sock.recv(1000)
                sock.close()
        self.still_served()
        wait_for(lambda: self.descriptors() <= before + 10, "the connections to be gone")

    def test_many_idle_connections(self):
        before = self.descriptors()
        idle = [self.connect(url) for url in self.targets() for _ in range(200)]
        self.still_served(50)
        with Client(self.db.url) as late:
            self.assertEqual(late.call("ping")[0], OK)
        for sock in idle:
            sock.close()
        wait_for(lambda: self.descriptors() <= before + 10, "the connections to be gone")

    def test_internal_operations_are_no_way_in(self):
        """What daemons say to each other, said by anybody, must not crash or take over a shard."""
        requests = [["x.hello"], ["x.adopt", b"0" * 16, 7], ["x.adopt", b"", 1],
                    ["x.grant", b"0" * 16, 1, 1, 1, [[0, 16383]]], ["x.grant", b"", 0, 0, 0, []],
                    ["x.grant", b"0" * 16, 2 ** 63, 2 ** 64 - 1, 2 ** 64 - 1, [[5, 1], [-1, 99999]]],
                    ["x.join", [["x.join", []]]], ["x.join", 5], ["x.scan", None, {}, 99999]]
        for url in self.targets():
            with Client(url) as client:
                for request in requests:
                    self.assertIsInstance(client.call(*request)[0], int)
        self.still_served()
        self.db.wait_up()
        self.assertEqual(self.healthy.call("put", b"after", 1)[0], OK)


class LimitTest(SystemTest):
    def test_more_connections_than_allowed(self):
        fleet = self.fleet(shards=1, coordinator_flags=["--max-connections", "20"])
        kept = [fleet.client() for _ in range(15)]
        refused = 0
        for _ in range(40):
            try:
                kept.append(self.closing(Client(fleet.url, timeout=2)))
            except (Lost, AssertionError):
                refused += 1
        self.assertGreater(refused, 0)
        self.assertEqual(kept[0].call("ping")[0], OK)
        for client in kept[1:]:
            client.close()

        def room():
            try:
                with Client(fleet.url, timeout=2) as client:
                    return client.call("ping")[0] == OK
            except (Lost, AssertionError):
                return False
        wait_for(room, "room for a client")

    def test_running_out_of_descriptors_is_survived(self):
        fleet = self.fleet(shards=1, start=False)
        fleet.coordinator.argv = ["/usr/bin/prlimit", "--nofile=64", "--"] + fleet.coordinator.argv
        fleet.start()
        first = fleet.client()
        first.ok("put", b"k", 1)
        crowd = []
        for _ in range(100):
            sock = socket.socket()
            sock.settimeout(1)
            try:
                sock.connect(("127.0.0.1", fleet.port))
            except OSError:
                pass
            crowd.append(sock)
        self.assertEqual(first.ok("get", b"k"), 1)
        for sock in crowd:
            sock.close()

        def served():
            try:
                with Client(fleet.url, timeout=2) as client:
                    return client.ok("get", b"k") == 1
            except (Lost, AssertionError):
                return False
        wait_for(served, "a new client to be served")


if __name__ == "__main__":
    harness.main()

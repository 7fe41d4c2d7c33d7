"""Peers that come in crowds, ask for more than they take, or stop half way, on every kind of socket:
the coordinator's by tcp and ipc, a shard's by tcp and ipc. Through all of it a healthy client of each
socket goes on without one error, every process stays alive, memory stays bounded, and every socket
is closed in the end."""

import os
import random
import socket
import struct
import time

import harness
from harness import (BADREQUEST, NOTFOUND, OK, PATIENCE, TOOLARGE, Client, Lost, Worker, free_port,
                     pack, wait_for)

SEED = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
MESSAGE_MAX = 8 << 20
MIB = 1 << 20
# A sanitizer keeps freed memory for a while, and is slow: less of the same then.
FEWER = 8 if PATIENCE > 1 else 1
FLOODED = 2 if PATIENCE > 1 else 1  # every socket, or every second
MEMORY_SLACK = 256 * MIB if PATIENCE == 1 else 1536 * MIB
HANDSHAKE = b"\0SP\0\0\x30\0\0"


def resident(daemon):
    with open("/proc/%d/status" % daemon.process.pid, encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def sockets(daemon):
    """How many it has open. (Other descriptors come and go with its data files.)"""
    count = 0
    folder = "/proc/%d/fd" % daemon.process.pid
    for name in os.listdir(folder):
        try:
            count += os.readlink(folder + "/" + name).startswith("socket:")
        except OSError:
            pass
    return count


class Healthy:
    """A client that never has anything but success."""

    def __init__(self, url, keys):
        self.url = url
        self.counter, self.register = keys
        self.done = 0
        self.stopping = False
        self.worker = Worker(self.run)

    def run(self):
        with Client(self.url) as client:
            number = client.ok("incr", self.counter)
            while not self.stopping:
                number += 1
                assert client.ok("incr", self.counter) == number
                assert client.ok("get", self.counter) == number
                reply = client.ok("batch", [["put", self.register, number], ["get", self.register]])
                assert reply[1] == [OK, number], reply
                self.done += 1
                time.sleep(0.002)

    def wait_for_progress(self, count=3):
        goal = self.done + count

        def progressed():
            if not self.worker.is_alive():
                self.worker.join()
            return self.done >= goal
        wait_for(progressed, "a healthy client of %s to get on" % self.url)

    def stop(self):
        self.stopping = True
        self.worker.join()


class Raw:
    """A bare socket, which may say and leave unsaid what it likes."""

    def __init__(self, url, first=HANDSHAKE):
        self.ipc = url.startswith("ipc://")
        if self.ipc:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(url[len("ipc://"):])  # with a time-out it would not wait at all
            self.sock.settimeout(20 * PATIENCE)
        else:
            host, port = url[len("tcp://"):].rsplit(":", 1)
            self.sock = socket.create_connection((host, int(port)), 20 * PATIENCE)
        self.send(first)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()

    def send(self, data):
        """True, or False when the peer has closed."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def frame(self, payload, length=None):
        size = len(payload) if length is None else length
        return (b"\x01" if self.ipc else b"") + struct.pack(">Q", size) + payload

    def request(self, *request):
        return self.frame(b"\x80\0\0\1" + pack(list(request)))

    def is_closed(self):
        """Reads to the end: the peer has closed, or closes now."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class FloodTest(harness.SharedFleetTest):
    @classmethod
    def setUpClass(cls):
        cls.fleet_options = {"start": False, "shard_flags": ["--max-message", str(MESSAGE_MAX),
                                                             "--max-value", "1M"],
                             "coordinator_flags": ["--max-message", str(MESSAGE_MAX),
                                                   "--max-value", "1M"]}
        super().setUpClass()
        tcp = "tcp://127.0.0.1:%d" % free_port()
        cls.fleet.shards[0].argv += ["--listen", tcp]
        try:
            cls.fleet.start()
        except BaseException:
            cls.end_keeper(failed=True)
            raise
        shard = cls.fleet.shards[0]
        cls.targets = [(cls.fleet.url, cls.fleet.coordinator), (cls.fleet.ipc, cls.fleet.coordinator),
                       (tcp, shard), (shard.url, shard)]
        cls.own_key = cls.fleet.keys_of(1, 1, "attacked")[0]

    def setUp(self):
        super().setUp()
        self.dice = random.Random(SEED)
        self.processes = self.fleet.shards + [self.fleet.coordinator]
        keys = self.fleet.keys_of(1, 2 * len(self.targets), "healthy")
        # Not a connection of ours is open now but self.db.
        self.db.close()
        self.before = wait_for(self.settled, "connections of the last test to end")
        self.healthy = [Healthy(url, keys[2 * n:2 * n + 2])
                        for n, (url, _) in enumerate(self.targets)]
        self.db = Client(self.fleet.url)
        print("SC_TEST_SEED=%d" % SEED, flush=True)

    def settled(self):
        """The sockets of all processes, once the numbers have stopped to change."""
        first = [sockets(p) for p in self.processes]
        time.sleep(0.1)
        return first if first == [sockets(p) for p in self.processes] else None

    def tearDown(self):
        try:
            self.check_healthy()
            self.db.close()
            for healthy in self.healthy:
                healthy.stop()
            for process in self.processes:
                self.assertTrue(process.running(), process.name)
            wait_for(lambda: all(sockets(p) <= before for p, before in
                                 zip(self.processes, self.before)),
                     "sockets to come back to %r" % self.before)
        finally:
            super().tearDown()

    def check_healthy(self):
        for healthy in self.healthy:
            healthy.wait_for_progress()


class Connections(FloodTest):
    def test_half_a_handshake_is_waited_for_and_then_ended(self):
        half = [Raw(url, HANDSHAKE[:size]) for url, _ in self.targets for size in range(8)]
        for raw in half[::3]:
            raw.sock.close()
        for raw in half:
            if raw.sock.fileno() >= 0:
                self.assertTrue(raw.is_closed())
                raw.sock.close()

    def test_thousands_connect_and_close(self):
        for url, _ in self.targets:
            for number in range(2000 // FEWER):
                raw = Raw(url, HANDSHAKE[:number % 10] if number % 3 else b"")
                if number % 2:
                    raw.reset()
                else:
                    raw.sock.close()
            self.check_healthy()

    def test_clients_that_vanish_with_requests_in_flight(self):
        for key in self.fleet.keys_of(1, 3, "big"):
            self.db.ok("put", key, bytes(100000))
        keys = self.fleet.keys_of(1, 3, "big")
        for url, _ in self.targets:
            for number in range(300 // FEWER):
                raw = Raw(url)
                raw.send(b"".join(raw.request("get", self.dice.choice(keys)) for _ in range(5)) +
                         b"".join(raw.request("put", self.own_key, n) for n in range(5)))
                if number % 2:
                    raw.sock.recv(self.dice.randrange(1, 100000))
                if number % 3:
                    raw.reset()
                else:
                    raw.sock.close()
            self.check_healthy()

    def test_half_closed_connections_are_let_go(self):
        for url, _ in self.targets:
            for _ in range(50):
                with Raw(url) as raw:
                    raw.send(raw.request("put", self.own_key, 1))
                    raw.sock.shutdown(socket.SHUT_WR)
                    self.assertTrue(raw.is_closed())

    def test_a_thousand_idle_connections(self):
        idle = []
        count = 1000 // (1 if FEWER == 1 else 2)
        for url, process in self.targets[::2]:
            before = resident(process)
            idle += [Raw(url) for _ in range(count)]
            for raw in idle[-1:]:
                raw.send(raw.request("ping"))
                raw.sock.recv(1000)
            self.check_healthy()
            self.assertLess(resident(process) - before, MEMORY_SLACK // 4)
        for raw in idle:
            raw.sock.close()


class Frames(FloodTest):
    def test_many_half_sent_large_frames_take_little_memory(self):
        for url, process in self.targets:
            before = resident(process)
            raws = [Raw(url) for _ in range(200)]
            for raw in raws:
                raw.send(raw.frame(b"\x80\0\0\1" + bytes(20000), MESSAGE_MAX))
            self.check_healthy()
            self.assertLess(resident(process) - before, MEMORY_SLACK // 4)
            for raw in raws:
                raw.sock.close()

    def test_hop_words_come_back_and_too_many_are_dropped(self):
        for url, _ in self.targets:
            with Client(url) as client:
                for hops in range(9):
                    words = b"".join(struct.pack(">I", n + 1) for n in range(hops))
                    client.send_raw(client.frame(words + b"\x80\0\0\x07" + pack(["ping"])))
                    if client.ipc:
                        self.assertEqual(client.read(1), b"\x01")
                    payload = client.read(struct.unpack(">Q", client.read(8))[0])
                    self.assertTrue(payload.startswith(words + b"\x80\0\0\x07\x93\0\xa9shardcask"))
                for hops in (9, 16, 1000):
                    client.send_raw(client.frame(b"\0\0\0\1" * hops + b"\x80\0\0\x07" +
                                                 pack(["ping"])))
                self.assertEqual(client.ok("ping")[0], "shardcask")
                client.send_raw(client.frame(b"\0\0\0\1" * 3))  # no id at all
                self.assertRaises(Lost, client.read, 1)

    def test_one_id_used_by_all_requests_is_answered_each_time(self):
        for url, _ in self.targets:
            with Client(url) as client:
                for n in range(100):
                    client.send_raw(client.frame(b"\x80\0\0\x07" + pack(["put", self.own_key, n])))
                for _ in range(100):
                    request_id, body = client.read_frame()
                    self.assertEqual((request_id, body[:2]), (0x80000007, b"\x92\0"))


class Bodies(FloodTest):
    """Messages whose frame is good and whose body is not."""

    def requests(self):
        key = self.own_key
        return [["get", key], ["put", key, {"a": [1, None, b"x"]}, {"ttl_ms": 100000, "sync": True}],
                ["put", key, 1, {"if_version": 0}], ["del", key, {"if_version": 7}], ["exists", key],
                ["meta", key], ["touch", key, None], ["incr", key, -5], ["mget", [key, key]],
                ["mput", [[key, 1], [key, 2, {"ttl_ms": 500000}]]], ["mdel", [key]],
                ["batch", [["put", key, 1], ["get", key]]],
                ["scan", None, {"prefix": b"zz", "limit": 10, "values": True}]]

    def test_truncated_at_every_byte(self):
        for url, _ in self.targets:
            with Client(url) as client:
                for request in self.requests():
                    body = pack(request)
                    ids = [client.send_body(body[:size]) for size in range(len(body))]
                    for request_id in ids:
                        reply = client.wait(request_id)
                        self.assertEqual(reply[0], BADREQUEST)
                        self.assertTrue(reply[1])

    def test_something_behind_the_request(self):
        for url, _ in self.targets:
            with Client(url) as client:
                for request in self.requests() + [["ping"], ["count"]]:
                    for extra in (b"\xc0", b"\0", b"\xc1", pack(request)):
                        self.assertEqual(client.call_body(pack(request) + extra)[0], BADREQUEST)

class NeverReading(FloodTest):
    """Clients that ask and do not read: what they have asked for must not gather without bound."""

    def flood(self, url, process, body, count, connections):
        before = resident(process)
        raws = [Raw(url) for _ in range(connections)]
        frame = raws[0].frame(b"\x80\0\0\1" + body)
        highest = 0
        for raw in raws:
            raw.sock.setblocking(False)
        sent = [0] * len(raws)
        whole = frame * count
        deadline = time.monotonic() + 1
        still = 0
        while still < 10 and time.monotonic() < deadline:
            moved = False
            for at, raw in enumerate(raws):
                try:
                    sent[at] += raw.sock.send(whole[sent[at]:sent[at] + MIB])
                    moved = True
                except BlockingIOError:
                    pass
            highest = max(highest, resident(process))
            still = 0 if moved else still + 1
            time.sleep(0.02)
        self.check_healthy()
        highest = max(highest, resident(process))
        for raw in raws:
            raw.sock.close()
        self.check_healthy()
        return highest - before

    def test_large_values(self):
        key = self.fleet.keys_of(1, 1, "large")[0]
        self.db.ok("put", key, bytes(MIB - 10))
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["get", key]), 3000, 4)
            self.assertLess(grown, MEMORY_SLACK, url)

    def test_many_small_values(self):
        key = self.fleet.keys_of(1, 1, "small")[0]
        self.db.ok("put", key, bytes(3000))
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["get", key]), 100000, 4)
            self.assertLess(grown, MEMORY_SLACK, url)

    def test_lists_of_large_values(self):
        key = self.fleet.keys_of(1, 1, "large")[0]
        self.db.ok("put", key, bytes(MIB // 4))
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["mget", [key] * 20]), 500, 4)
            self.assertLess(grown, MEMORY_SLACK, url)

    def test_pages_of_scans(self):
        self.db.ok("mput", [[b"scan-%d" % n, bytes(1000)] for n in range(1000)])
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["scan", None, {"values": True}]), 2000, 4)
            self.assertLess(grown, MEMORY_SLACK, url)

    def test_writes(self):
        key = self.fleet.keys_of(1, 1, "written")[0]
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["put", key, bytes(1000)]), 20000, 4)
            self.assertLess(grown, MEMORY_SLACK, url)

    def test_errors(self):
        for url, process in self.targets[::FLOODED]:
            grown = self.flood(url, process, pack(["nope", b"x" * 100]), 200000, 4)
            self.assertLess(grown, MEMORY_SLACK, url)


class Limits(harness.SystemTest):
    def test_running_out_of_descriptors_passes(self):
        fleet = self.fleet(1, start=False)
        fleet.coordinator.argv = ["prlimit", "--nofile=60:60"] + fleet.coordinator.argv
        fleet.start()
        healthy = Healthy(fleet.url, [b"counter", b"register"])
        healthy.wait_for_progress()
        crowd = [Raw(fleet.url) for _ in range(120)]
        healthy.wait_for_progress()
        for raw in crowd:
            raw.sock.close()
        wait_for(lambda: can_ping(fleet.url), "room for a client")
        healthy.wait_for_progress()
        fleet.shards[0].restart()  # a link to it needs a descriptor
        fleet.wait_up()
        with self.assertRaises(Exception):
            healthy.stop()  # it had a 7 while the shard was away

    def test_silent_clients_are_closed_when_asked_to(self):
        fleet = self.fleet(1, coordinator_flags=["--idle", "300"])
        healthy = Healthy(fleet.url, [b"counter", b"register"])
        silent = [Raw(fleet.url) for _ in range(20)]
        for raw in silent:
            self.assertTrue(raw.is_closed())
            raw.sock.close()
        healthy.wait_for_progress()
        healthy.stop()

    def test_an_absent_key_in_a_message_of_a_million(self):
        fleet = self.fleet(2)
        with Client(fleet.url, timeout=60) as client:
            body = b"\x92\xa4mget\xdd" + struct.pack(">I", 1 << 20) + b"\xa1k" * (1 << 20)
            reply = client.call_body(body)
            self.assertEqual((reply[0], len(reply[1])), (OK, 1 << 20))
            self.assertEqual(reply[1][-1][0], NOTFOUND)
            body = b"\x92\xa4mget\xdd" + struct.pack(">I", (1 << 20) + 1) + b"\xa1k" * ((1 << 20) + 1)
            self.assertEqual(client.call_body(body)[0], TOOLARGE)


def can_ping(url):
    try:
        with Client(url, timeout=1) as client:
            return client.call("ping")[0] == OK
    except (Lost, AssertionError):
        return False


if __name__ == "__main__":
    harness.main()

"""What the system tests share: real daemons in a temporary directory, and a raw client.

The daemons come from the directory that SHARDCASK_BIN names. A test asks for a Fleet, talks to it
through Client (the wire protocol over a plain socket: no library of ours in between) or through
the command line (shardcask()), and may kill, stop, freeze and restart any process. When a test
ends, its processes are stopped and checked: a daemon that ends badly, leaves a sanitizer's report
or outlives the test fails it. When a test fails, the logs of its daemons are printed.
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import msgpack
import xxhash

BIN = os.environ.get("SHARDCASK_BIN", "")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Sanitizers make everything slower: waits are multiplied by this, never skipped.
PATIENCE = float(os.environ.get("SHARDCASK_PATIENCE", "1"))

OK, NOTFOUND, BADREQUEST, TOOLARGE, MISMATCH, WRONGTYPE, MOVED, UNAVAILABLE, UNKNOWN, BUSY, IO, \
    CORRUPT, DENIED, INTERNAL = range(14)
SLOTS = 16384
REPORTS = (b"ERROR: AddressSanitizer", b"ERROR: LeakSanitizer", b"WARNING: ThreadSanitizer",
           b"runtime error:", b"Assertion `")


def program(name):
    return os.path.join(BIN, name)


def slot_of(key):
    return xxhash.xxh3_64_intdigest(key) >> 50


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False,
                           unicode_errors="surrogateescape")


def wait_for(condition, what, seconds=15):
    """Polls until condition() is true and returns what it gave; fails with `what` after a while."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.01)


def free_port():
    """A free port below those that the system gives to clients: one that connects again and again to
    a server that is gone may be given the server's own port, and then keeps it from coming back."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Lost(Exception):
    """The connection ended."""


class StatusError(Exception):
    """The store answered with a status other than 0."""

    def __init__(self, request, reply):
        self.status = reply[0]
        self.reply = reply
        super().__init__("%r -> %r" % (str(request)[:120], reply))


class Client:
    """SP REQ over a plain socket: many requests in flight, replies in any order."""

    def __init__(self, url, timeout=20.0, handshake=True):
        self.url = url
        self.ipc = url.startswith("ipc://")
        if self.ipc:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address = url[len("ipc://"):]
        else:
            host, port = url[len("tcp://"):].rsplit(":", 1)
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            address = (host, int(port))
        self.sock.settimeout(timeout * PATIENCE)
        self.buffer = b""
        self.replies = {}
        self.next_id = random.getrandbits(31)
        try:
            self.sock.connect(address)
            if not self.ipc:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if handshake:
                self.sock.sendall(b"\0SP\0\0\x30\0\0")
                greeting = self.read(8)
                if greeting != b"\0SP\0\0\x31\0\0":
                    raise Lost("not a REP socket: %r" % greeting)
        except OSError as error:
            self.sock.close()
            raise Lost("%s: %s" % (url, error)) from error
        except (Lost, AssertionError):
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.sock.close()

    def read(self, size):
        while len(self.buffer) < size:
            try:
                data = self.sock.recv(1 << 20)
            except socket.timeout as error:
                raise AssertionError("no answer from %s" % self.url) from error
            except OSError as error:
                raise Lost(str(error)) from error
            if not data:
                raise Lost("connection closed")
            self.buffer += data
        result, self.buffer = self.buffer[:size], self.buffer[size:]
        return result

    def frame(self, payload):
        return (b"\x01" if self.ipc else b"") + struct.pack(">Q", len(payload)) + payload

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from error

    def send_body(self, body):
        """Sends an encoded body; returns the request id."""
        self.next_id = (self.next_id + 1) & 0x7FFFFFFF
        request_id = self.next_id | 0x80000000
        self.send_raw(self.frame(struct.pack(">I", request_id) + body))
        return request_id

    def send(self, *request):
        return self.send_body(pack(list(request)))

    def read_frame(self):
        if self.ipc:
            marker = self.read(1)
            assert marker == b"\x01", marker
        size = struct.unpack(">Q", self.read(8))[0]
        payload = self.read(size)
        return struct.unpack(">I", payload[:4])[0], payload[4:]

    def wait_body(self, request_id):
        while request_id not in self.replies:
            got, body = self.read_frame()
            self.replies[got] = body
        return self.replies.pop(request_id)

    def wait(self, request_id):
        return unpack(self.wait_body(request_id))

    def call_body(self, body):
        return self.wait(self.send_body(body))

    def call(self, *request):
        """The whole reply, status first."""
        return self.wait(self.send(*request))

    def ok(self, *request):
        """The result of a request that must succeed (None when there is none)."""
        reply = self.call(*request)
        if reply[0] != OK:
            raise StatusError(request, reply)
        return reply[1] if len(reply) == 2 else reply[1:] or None

    def status(self, *request):
        """The status; an error must come with a sentence."""
        reply = self.call(*request)
        if reply[0] != OK:
            assert isinstance(reply[1], str) and reply[1], reply
        return reply[0]

    def scan(self, **options):
        """All pages of a scan as one list."""
        cursor, found = None, []
        while True:
            reply = self.call("scan", cursor, options) if options else self.call("scan", cursor)
            if reply[0] != OK:
                raise StatusError(("scan",), reply)
            found += reply[2]
            cursor = reply[1]
            if cursor is None:
                return found


def die_with_parent():
    """In a child before exec: be killed when the test runner dies, however it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Daemon:
    """One process with a log of its own. It may be started and ended many times."""

    def __init__(self, name, argv, log, url, wrapper=()):
        self.name = name
        self.argv = list(wrapper) + argv
        self.log = log
        self.url = url
        self.process = None
        self.ended_as_asked = True

    def start(self, wait=True):
        assert not self.running(), self.name + " runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=die_with_parent)
        self.ended_as_asked = False
        if wait:
            self.wait_ready()
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def answers(self):
        if not self.running():
            raise AssertionError("%s ended with %s while starting:\n%s" %
                                 (self.name, self.process.returncode, self.tail()))
        try:
            with Client(self.url, timeout=2) as client:
                return client.call("ping")[0] == OK
        except (Lost, AssertionError):
            return False

    def wait_ready(self):
        wait_for(self.answers, self.name + " to answer a ping at " + self.url, 30)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        self.process.wait()
        self.ended_as_asked = True

    def terminate(self, seconds=30):
        """SIGTERM; the daemon must end with 0."""
        self.process.terminate()
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.kill()
            raise AssertionError("%s did not end on SIGTERM\n%s" % (self.name, stacks)) from None
        self.ended_as_asked = True
        if code != 0:
            raise AssertionError("%s ended with %d on SIGTERM:\n%s" % (self.name, code, self.tail()))

    def stacks(self):
        """What each thread is doing, if there is a debugger to tell."""
        if shutil.which("gdb") is None:
            return "(no gdb to show what it does)"
        return run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"]).out

    def freeze(self):
        """SIGSTOP, and every thread has stopped when this returns."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def restart(self, wait=True):
        if self.running():
            self.terminate()
        return self.start(wait)

    def text(self):
        try:
            with open(self.log, "rb") as log:
                return log.read()
        except OSError:
            return b""

    def tail(self, size=6000):
        return self.text()[-size:].decode("utf-8", "replace")

    def cleanup(self):
        """Ends what still runs; returns what is to be complained of."""
        complaints = []
        if self.process is not None:
            code = self.process.poll()
            if code is not None and not self.ended_as_asked:
                complaints.append("%s ended by itself with %d" % (self.name, code))
            elif code is None:
                self.process.send_signal(signal.SIGCONT)
                try:
                    self.terminate()
                except AssertionError as error:
                    complaints.append(str(error))
        text = self.text()
        for report in REPORTS:
            if report in text:
                start = text.index(report)
                complaints.append("%s: %s" % (self.name, text[max(0, start - 200):start + 5000]
                                              .decode("utf-8", "replace")))
                break
        return complaints


class Fleet:
    """A coordinator and its shards in one directory. Shards are numbered from 1."""

    def __init__(self, case, shards=2, sync="always", shard_flags=(), coordinator_flags=(),
                 start=True):
        self.case = case
        self.dir = case.make_dir()
        self.shards = []
        self.shard_flags = ["--sync", sync] + list(shard_flags)
        for number in range(1, shards + 1):
            self.shards.append(self.make_shard(number))
        self.port = free_port()
        self.url = "tcp://127.0.0.1:%d" % self.port
        self.ipc = "ipc://%s/coordinator.sock" % self.dir
        argv = [program("shardcask-coordinator"), "--dir", self.dir + "/coordinator",
                "--listen", self.url, "--listen", self.ipc]
        for shard in self.shards:
            argv += ["--shard", shard.url]
        self.coordinator = case.own(Daemon("coordinator", argv + list(coordinator_flags),
                                           self.dir + "/coordinator.log", self.url))
        if start:
            self.start()

    def make_shard(self, number, wrapper=(), flags=()):
        name = "shard-%d" % number
        url = "ipc://%s/%s.sock" % (self.dir, name)
        argv = [program("shardcask-shard"), "--dir", "%s/%s" % (self.dir, name), "--listen", url]
        return self.case.own(Daemon(name, argv + self.shard_flags + list(flags),
                                    "%s/%s.log" % (self.dir, name), url, wrapper))

    def start(self):
        for shard in self.shards:
            shard.start(wait=False)
        for shard in self.shards:
            shard.wait_ready()
        self.coordinator.start()
        self.wait_up()

    def states(self):
        """Shard id -> state, as the coordinator tells it; {} when it does not answer."""
        try:
            with Client(self.url) as client:
                return {s["id"]: s["state"] for s in client.ok("map")["shards"]}
        except (Lost, StatusError):
            return {}

    def wait_up(self):
        wait_for(lambda: self.states() and set(self.states().values()) == {"up"},
                 "every shard to be up")

    def wait_down(self, number):
        wait_for(lambda: self.states().get(number) == "down", "shard %d to be down" % number)

    def client(self, **options):
        return self.case.closing(Client(self.url, **options))

    def shard_of(self, key):
        """The number of the shard that owns a key."""
        with Client(self.url) as client:
            slot = slot_of(key)
            for first, last, owner in client.ok("map")["ranges"]:
                if first <= slot <= last:
                    return owner
        raise AssertionError("slot %d has no owner" % slot)

    def keys_of(self, number, count, prefix="key"):
        """`count` different keys that shard `number` owns."""
        with Client(self.url) as client:
            ranges = [r for r in client.ok("map")["ranges"] if r[2] == number]
        found, at = [], 0
        while len(found) < count:
            key = ("%s-%d" % (prefix, at)).encode()
            at += 1
            if any(first <= slot_of(key) <= last for first, last, _ in ranges):
                found.append(key)
        return found


def has_failed(test):
    """Whether a test, or a subtest of it, has failed so far; for its tearDown."""
    result = test._outcome.result
    return any(test in (bad, getattr(bad, "test_case", None))
               for bad, _ in result.errors + result.failures)


class SystemTest(unittest.TestCase):
    """A test that cleans up after itself and shows the daemons' logs when it fails."""

    log_tail = 6000  # so many bytes of each

    def setUp(self):
        self.daemons = []
        self.dirs = []
        self.closers = []

    def make_dir(self):
        path = tempfile.mkdtemp(prefix="sc-")
        self.dirs.append(path)
        return path

    def own(self, daemon):
        self.daemons.append(daemon)
        return daemon

    def closing(self, thing):
        self.closers.append(thing)
        return thing

    def fleet(self, *args, **kwargs):
        return Fleet(self, *args, **kwargs)

    def tearDown(self):
        for thing in self.closers:
            thing.close()
        complaints = []
        # The coordinator first: it then has no reason to complain about its shards.
        for daemon in reversed(self.daemons):
            complaints += daemon.cleanup()
        if complaints or has_failed(self):
            for daemon in self.daemons:
                print("==== log of %s\n%s" % (daemon.name, daemon.tail(self.log_tail)), file=sys.stderr)
        for path in self.dirs:
            shutil.rmtree(path, ignore_errors=True)
        if complaints:
            self.fail("\n".join(complaints))


class SharedFleetTest(unittest.TestCase):
    """Tests that share one fleet, emptied before each: for requests that harm nothing."""

    fleet_options = {}

    @classmethod
    def setUpClass(cls):
        cls.keeper = SystemTest()
        cls.keeper.setUp()
        try:
            cls.fleet = Fleet(cls.keeper, **cls.fleet_options)
        except BaseException:
            cls.end_keeper(failed=True)
            raise
        cls.failed = False

    @classmethod
    def tearDownClass(cls):
        cls.end_keeper(cls.failed)

    @classmethod
    def end_keeper(cls, failed):
        class Outcome:
            result = unittest.TestResult()
        if failed:
            Outcome.result.errors.append((cls.keeper, ""))
        cls.keeper._outcome = Outcome
        cls.keeper.tearDown()

    def setUp(self):
        self.db = Client(self.fleet.url)
        self.db.ok("clear")

    def tearDown(self):
        self.db.close()
        if has_failed(self):
            type(self).failed = True


class Ran:
    """What a command did."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self):
        return "exit %d\nstdout: %r\nstderr: %r" % (self.code, self.out, self.err)


def run(argv, stdin=None, env=None, seconds=60, **options):
    environment = dict(os.environ)
    environment.pop("SHARDCASK_URL", None)
    environment.update(env or {})
    feed = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                          timeout=seconds * PATIENCE, check=False, **feed, **options)
    return Ran(done.returncode, done.stdout.decode("utf-8", "surrogateescape"),
               done.stderr.decode("utf-8", "surrogateescape"))


def shardcask(url, *args, **options):
    return run([program("shardcask"), "--url", url] + [str(a) if not isinstance(a, bytes) else a
                                                       for a in args], **options)


class Worker(threading.Thread):
    """A thread whose exception is raised again by join()."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function = function
        self.args = args
        self.error = None
        self.start()

    def run(self):
        try:
            self.function(*self.args)
        except BaseException as error:  # handed to whoever joins
            self.error = error

    def join(self, timeout=None):
        super().join(60 * PATIENCE if timeout is None else timeout)
        if self.is_alive():
            raise AssertionError("a worker thread does not end")
        if self.error is not None:
            raise self.error


def main():
    if not BIN:
        sys.exit("SHARDCASK_BIN must name the directory of the daemons, for example build/bin")
    unittest.main(verbosity=2)

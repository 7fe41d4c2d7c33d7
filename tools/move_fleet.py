"""A fleet that tools/figures-move measures: its processes, what they tell, how much memory they take."""

import os
import re
import signal
import socket
import struct
import subprocess
import time

import msgpack
import xxhash

BIN = os.environ.get("SHARDCASK_BIN", "")
OK = 0


def slot_of(key):
    return xxhash.xxh3_64_intdigest(key) >> 50


def frame(request, number=1):
    """A request as it goes over an ipc connection."""
    body = struct.pack(">I", 0x80000000 | number) + msgpack.packb(request, use_bin_type=True)
    return b"\x01" + struct.pack(">Q", len(body)) + body


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    connection.sendall(b"\0SP\0\0\x30\0\0")
    assert connection.recv(8, socket.MSG_WAITALL) == b"\0SP\0\0\x31\0\0"
    return connection


class Client:
    """One request after the other."""

    def __init__(self, path):
        self.connection = connect(path)

    def call(self, *request):
        """The whole reply, status first."""
        self.connection.sendall(frame(list(request)))
        size = struct.unpack(">Q", self.read(9)[1:])[0]
        return msgpack.unpackb(self.read(size)[4:], raw=False, strict_map_key=False)

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise ConnectionError("the coordinator has closed the connection")
            data += more
        return data

    def ok(self, *request):
        reply = self.call(*request)
        if reply[0] != OK:
            raise RuntimeError("%r: %r" % (request[0], reply))
        return reply[1] if len(reply) > 1 else None

    def owners(self):
        """Of each slot, the id of its shard."""
        owners = []
        for first, last, shard in self.ok("map")["ranges"]:
            owners += [shard] * (last - first + 1)
        return owners

    def close(self):
        self.connection.close()


class Fleet:
    """Processes in a directory of their own that end with the script."""

    def __init__(self, directory, shards, sync="always"):
        os.makedirs(directory)
        self.dir = directory
        self.sync = sync
        self.path = directory + "/coordinator.sock"
        self.shards = {}  # number, which is the id, -> process
        self.log = directory + "/coordinator.log"
        for _ in range(shards):
            self.start_shard()
        self.coordinator = None
        self.start_coordinator()
        self.client = Client(self.path)

    def start(self, program, name, *args):
        with open("%s/%s.log" % (self.dir, name), "ab") as log:
            return subprocess.Popen([os.path.join(BIN, program), "--dir", "%s/%s" % (self.dir, name)]
                                    + list(args), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def url(self, number):
        return "ipc://%s/%d.sock" % (self.dir, number)

    def start_shard(self):
        number = len(self.shards) + 1
        self.shards[number] = self.start("shardcask-shard", str(number), "--listen", self.url(number),
                                         "--sync", self.sync)
        wait_until(lambda: os.path.exists("%s/%d.sock" % (self.dir, number)))
        return number

    def start_coordinator(self):
        """Returns the seconds until it answers, and until all shards are up."""
        begun = time.monotonic()
        urls = [word for number in self.shards for word in ("--shard", self.url(number))]
        self.coordinator = self.start("shardcask-coordinator", "coordinator", "--listen",
                                      "ipc://" + self.path, *urls)
        wait_until(self.answers, self.coordinator, 0.001)
        answered = time.monotonic() - begun
        client = Client(self.path)
        wait_until(lambda: all(s["state"] == "up" for s in client.ok("map")["shards"]), pause=0.002)
        client.close()
        return answered, time.monotonic() - begun

    def answers(self):
        try:
            client = Client(self.path)
        except OSError:
            return False
        client.ok("ping")
        client.close()
        return True

    def stop_coordinator(self):
        self.client.close()
        self.coordinator.terminate()
        self.coordinator.wait()

    def restart_coordinator(self):
        took = self.start_coordinator()
        self.client = Client(self.path)
        return took

    def add(self):
        """Another shard joins; returns its id at once."""
        number = self.start_shard()
        assert self.client.ok("shard.add", self.url(number)) == number
        return number

    def is_idle(self):
        return self.client.ok("rebalance")["state"] == "idle"

    def wait_idle(self):
        """Returns the seconds that it took."""
        begun = time.monotonic()
        wait_until(self.is_idle, pause=0.05)
        return time.monotonic() - begun

    def pauses_us(self):
        """How long requests waited at each attempt to hand slots over, as the coordinator's log tells."""
        with open(self.log, encoding="utf-8") as log:
            return [int(us) for us in re.findall(r"waited (\d+) us", log.read())]

    def anonymous_kib(self, number):
        """Memory of a shard that is not the page cache's."""
        with open("/proc/%d/status" % self.shards[number].pid, encoding="ascii") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read()).group(1))

    def stop(self):
        for process in [self.coordinator, *self.shards.values()]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait()


def wait_until(condition, process=None, pause=0.01, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise RuntimeError("a process ended with %d; see its log" % process.returncode)
        if time.monotonic() > deadline:
            raise RuntimeError("waited for two minutes in vain")
        time.sleep(pause)

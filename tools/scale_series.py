"""What tools/scale measures: series, each a row of points at which a fleet is put to the same loads.

A point is a dictionary: "x", what it is called, and figures by name: a list of what was measured
again and again, or a number. Sizes are bytes, times say what they are (scale_report.py shows them).
"""

import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import threading
import time

from compare_report import median, number
from compare_servers import BIN, Shardcask, Trouble

# name of the figure, arguments of shardcask-bench
LOADS = (("put", ("put",)), ("get", ("get",)),
         ("put64", ("--batch", "64", "put")), ("get64", ("--batch", "64", "get")))
MIB = 1 << 20
ENOUGH_KEYS = 100000  # for a figure of what a key costs
KEY_SIZE, VALUE_SIZE = 16, 100
DISK_A_KEY, MEMORY_A_KEY = 320, 240  # bytes: record twice over; keydir and the pages of its record


def short(number):
    """1,000 as 1k, 20,000,000 as 20M."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if number >= unit:
            return "%g%s" % (number / unit, name)
    return "%d" % number


# ---- Processes ----

def status_bytes(pid, name):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise Trouble("/proc/%d/status does not tell %s" % (pid, name))


class Fleet(Shardcask):
    """A fleet and what its processes take. Memory is what is theirs alone: what top shows of a shard
    contains the pages of its files, which belong to the page cache."""

    def __init__(self, base, settings, shards):
        super().__init__(base, "fleet", settings.sync, shards=shards)
        self.settings = settings

    def pid(self, coordinator):
        """Of the coordinator, or of each shard."""
        pids = [process.pid for name, process in self.processes
                if (name == "coordinator") == coordinator]
        return pids[0] if coordinator else pids

    def memory(self):
        return {"coordinator": status_bytes(self.pid(True), "RssAnon"),
                "shards": sum(status_bytes(pid, "RssAnon") for pid in self.pid(False))}

    def open(self):
        """Starts all again on what they left; how many seconds until every key is served."""
        self.stop_processes()
        begun = time.monotonic()
        self.start()
        return time.monotonic() - begun

    def bench(self, keys, *arguments):
        self.check()
        ran = subprocess.run([os.path.join(BIN, "shardcask-bench"), "--url", self.url, "--json",
                              "--no-load", "--warm-up", "200", "--keys", str(keys), "--value-size",
                              str(VALUE_SIZE)] + list(arguments), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        if ran.returncode != 0:
            raise Trouble("shardcask-bench %s: %s" % (" ".join(arguments), ran.stderr.strip()))
        return json.loads(ran.stdout)

    def loads(self, point, keys, connections):
        """All loads in turn, several times over, into the point."""
        for _ in range(self.settings.repeats):
            for name, arguments in LOADS:
                line = self.bench(keys, "-c", str(connections), "--seconds",
                                  str(self.settings.seconds), *arguments)
                if line["missing"]:
                    raise Trouble("%d keys are missing" % line["missing"])
                point.setdefault(name, []).append(line["ops_per_second"])
                point.setdefault(name + "_p50", []).append(line["latency_us"]["p50"])
                point.setdefault(name + "_p99", []).append(line["latency_us"]["p99"])


class Settings:
    """Of a whole run; say: called with a line of progress."""

    def __init__(self, base, say, seconds=1, repeats=3, sync="1000"):
        self.base, self.say = base, say
        self.seconds, self.repeats, self.sync = seconds, repeats, sync


def with_fleet(settings, shards, use):
    fleet = Fleet(settings.base, settings, shards)
    try:
        fleet.start()
        return use(fleet)
    finally:
        fleet.stop()


def tell(settings, what, point):
    settings.say("%-24s %s" % (what, "  ".join(
        "%s %s/s" % (name, number(median(point[name]))) for name, _ in LOADS)))


# ---- Series ----

def by_shards(settings, shards, connections, keys):
    points = []
    for count in shards:
        def use(fleet, count=count):
            point = {"x": str(count)}
            fleet.fill(keys, VALUE_SIZE)
            fleet.loads(point, keys, connections)
            point.update(fleet.memory())
            tell(settings, "%d shards" % count, point)
            return point
        points.append(with_fleet(settings, count, use))
    return points


def by_connections(settings, connections, shards, keys):
    def use(fleet):
        points = []
        fleet.fill(keys, VALUE_SIZE)
        for count in connections:
            point = {"x": short(count)}
            fleet.loads(point, keys, count)
            point.update(fleet.memory())
            tell(settings, "%d connections" % count, point)
            points.append(point)
        return points
    return with_fleet(settings, shards, use)


def fill_watched(fleet, keys):
    """Writes all keys in batches, and beside that puts one at a time. Keys a second, and the worst
    of those puts in ms."""
    worst = 0
    ended = threading.Event()
    trouble = []

    def probe():
        nonlocal worst
        try:
            while not ended.is_set():
                line = fleet.bench(keys, "-c", "1", "--requests", "2000", "put")
                worst = max(worst, line["latency_us"]["max"] / 1000)
        except Trouble as error:
            trouble.append(error)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    begun = time.monotonic()
    try:
        fleet.fill(keys, VALUE_SIZE)
        seconds = time.monotonic() - begun
    finally:
        ended.set()
        thread.join()
    if trouble:
        raise trouble[0]
    return keys / seconds, worst


def there_is_room(settings, keys):
    """Says why not, if not."""
    disk = shutil.disk_usage(settings.base).free
    if disk < keys * DISK_A_KEY:
        settings.say("%s keys left out: they take %d MiB of disk, %d are free" % (
            short(keys), keys * DISK_A_KEY / MIB, disk / MIB))
        return False
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024
    if free < keys * MEMORY_A_KEY:
        settings.say("%s keys left out: they take %d MiB of memory, %d are free" % (
            short(keys), keys * MEMORY_A_KEY / MIB, free / MIB))
        return False
    return True


def by_keys(settings, keys, shards, connections):
    points = []
    for count in keys:
        if not there_is_room(settings, count):
            continue

        def use(fleet, count=count):
            point = {"x": short(count)}
            empty = fleet.memory()["shards"]
            rate, point["worst"] = fill_watched(fleet, count)
            if count >= ENOUGH_KEYS:
                point["fill"] = rate
                point["a_key"] = (fleet.memory()["shards"] - empty) / count
            fleet.loads(point, count, connections)
            point.update(fleet.memory())
            point["open"] = fleet.open()
            tell(settings, "%s keys" % short(count), point)
            return point
        points.append(with_fleet(settings, shards, use))
    return points


# ---- Connections that rest ----

def greet(address):
    connection = socket.create_connection(address, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"\0SP\0\0\x30\0\0")
    if connection.recv(8, socket.MSG_WAITALL) != b"\0SP\0\0\x31\0\0":
        raise Trouble("the coordinator does not answer as it should")
    return connection


def put_once(connection, size):
    """["put", "rest", so many bytes], as docs/PROTOCOL.md has it."""
    body = b"\x93\xa3put\xa4rest\xc5" + struct.pack(">H", size) + b"x" * size
    connection.sendall(struct.pack(">QI", 4 + len(body), 0x80000001) + body)
    length = struct.unpack(">Q", connection.recv(8, socket.MSG_WAITALL))[0]
    reply = connection.recv(length, socket.MSG_WAITALL)
    if reply[4:6] != b"\x92\0":
        raise Trouble("a put was refused: %r" % reply)


def at_rest(settings, fleet, seconds):
    """Memory of the coordinator, and ms of the processor in a second."""
    pid = fleet.pid(True)

    def ticks():
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.5)
    begun, before = time.monotonic(), ticks()
    time.sleep(seconds)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    return {"coordinator": status_bytes(pid, "RssAnon"), "resident": status_bytes(pid, "VmRSS"),
            "cpu": 1000 * used / (time.monotonic() - begun)}


def by_idle(settings, connections, shards, seconds, size=16384):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))

    def use(fleet):
        points = []
        address = ("127.0.0.1", int(fleet.url.rpartition(":")[2]))
        rest = []
        try:
            for count in connections:
                rest += [greet(address) for _ in range(count - len(rest))]
                points.append(dict(x=short(count), **at_rest(settings, fleet, seconds)))
            for connection in rest:
                put_once(connection, size)
            points.append(dict(x=short(len(rest)) + ", each used", **at_rest(settings, fleet, seconds)))
        finally:
            for connection in rest:
                connection.close()
        points.append(dict(x="0 again", **at_rest(settings, fleet, seconds)))
        for point in points:
            settings.say("%-24s %5.1f MiB, %.1f ms of the processor in a second" % (
                point["x"], point["coordinator"] / MIB, point["cpu"]))
        return points
    return with_fleet(settings, shards, use)

"""The stores that tools/compare measures: how each is started, filled and stopped.

Every process is ours, lives in a temporary directory, listens on a free port of loopback, and dies
with us. Each store offers the same: start(), fill(keys, value_size), stop(), and where to find it.
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time

BIN = os.environ.get("SHARDCASK_BIN") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "bin")
PATIENCE_S = 60
FILL_BATCH = 1000


class Trouble(Exception):
    """A server did not do what it should; the message is for the user."""


def free_port():
    """Below the ports that the system gives to clients, so that none of them takes it meanwhile."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble("waited in vain for " + what)
        time.sleep(0.02)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def with_us(cpu):
    """For a child: it ends when we do, and runs on one CPU if asked to."""
    def prepare():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
    return prepare


class Store:
    """What all have in common: processes, and a directory that goes away with them."""

    title = ""

    def __init__(self, base, name, sync, cpu=None):
        self.directory = os.path.join(base, name)
        self.sync = sync  # "always" or "1000"
        self.cpu = cpu  # of all its processes; None: any
        self.processes = []

    def launch(self, name, arguments):
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, name + ".log"), "ab") as log:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       preexec_fn=with_us(self.cpu))
        self.processes.append((name, process))
        return process

    def check(self):
        for name, process in self.processes:
            if process.poll() is not None:
                with open(os.path.join(self.directory, name + ".log"), errors="replace") as log:
                    last = log.read().strip().splitlines()[-1:]
                raise Trouble("%s of %s has ended: %s" % (name, self.title, " ".join(last)))

    def wait_until(self, condition, what):
        def look():
            self.check()
            return condition()
        wait_for(look, what)

    def stop_processes(self):
        """Stops each by its own pid, the last one started first."""
        for _, process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def stop(self):
        self.stop_processes()
        shutil.rmtree(self.directory, ignore_errors=True)

    def processor_s(self):
        """Processor time that its processes have used, in seconds."""
        ticks = 0
        for _, process in self.processes:
            with open("/proc/%d/stat" % process.pid) as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


class Shardcask(Store):
    """A coordinator on tcp and shards on ipc, as tools/fleet starts them. Merges are paused, which
    lifts the bound on disk space too: Redis does not rewrite its file either. `tcp`: the shards too,
    for clients that ask them directly."""

    title = "Shardcask"

    def __init__(self, base, name, sync, cpu=None, shards=2, tcp=False):
        super().__init__(base, name, sync, cpu)
        self.shards = shards
        self.tcp = tcp
        self.url = None

    def start(self):
        self.url = "tcp://127.0.0.1:%d" % free_port()
        sockets = []
        for number in range(1, self.shards + 1):
            directory = os.path.join(self.directory, "shard-%d" % number)
            os.makedirs(directory, exist_ok=True)
            sockets.append("tcp://127.0.0.1:%d" % free_port() if self.tcp else
                           "ipc://%s/shard.sock" % directory)
            self.launch("shard-%d" % number, [os.path.join(BIN, "shardcask-shard"), "--dir",
                                              directory, "--listen", sockets[-1], "--sync", self.sync])
        arguments = [os.path.join(BIN, "shardcask-coordinator"), "--dir",
                     os.path.join(self.directory, "coordinator"), "--listen", self.url]
        for url in sockets:
            arguments += ["--shard", url]
        self.launch("coordinator", arguments)
        self.wait_until(lambda: self.command("count"), "the fleet to serve")
        if not self.command("config", "merge_paused", "1"):
            raise Trouble("the merges of %s cannot be paused" % self.title)

    def command(self, *words):
        """Whether the command line succeeds with these words."""
        return subprocess.run([os.path.join(BIN, "shardcask"), "--url", self.url, *words],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def fill(self, keys, value_size):
        subprocess.run([os.path.join(BIN, "shardcask-bench"), "--url", self.url, "--json", "-c", "1",
                        "--keys", str(keys), "--value-size", str(value_size), "--requests", "1",
                        "get"], check=True, stdout=subprocess.DEVNULL)


class Redis(Store):
    """One Redis with an append-only file."""

    title = "Redis"

    def __init__(self, base, name, sync, cpu=None):
        super().__init__(base, name, sync, cpu)
        self.port = None

    def launch_redis(self, name, arguments):
        """The file is never rewritten meanwhile: that would cost Redis some of its time."""
        directory = os.path.join(self.directory, name)
        os.makedirs(directory)
        fsync = "always" if self.sync == "always" else "everysec"
        self.launch(name, ["redis-server", "--dir", directory, "--save", "", "--appendonly", "yes",
                           "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0",
                           "--daemonize", "no"] + arguments)

    def start(self):
        self.port = free_port()
        self.launch_redis("redis", ["--port", str(self.port), "--bind", "127.0.0.1"])
        self.wait_until(lambda: accepts(self.port), "Redis to serve")

    def fill(self, keys, value_size):
        fill_redis(self.port, range(keys), b"key:%012d", value_size)


class Twemproxy(Redis):
    """twemproxy before Redis servers on sockets of the file system, which it likes better than tcp
    (tools/compare measured both)."""

    title = "twemproxy + 2 Redis"

    def __init__(self, base, name, sync, cpu=None, shards=2):
        super().__init__(base, name, sync, cpu)
        self.shards = shards

    def start(self):
        self.port = free_port()
        paths = []
        for number in range(1, self.shards + 1):
            paths.append(os.path.join(self.directory, "redis-%d.sock" % number))
            self.launch_redis("redis-%d" % number, ["--port", "0", "--unixsocket", paths[-1]])
        for path in paths:
            self.wait_until(lambda path=path: os.path.exists(path), "Redis to serve")
        configuration = os.path.join(self.directory, "nutcracker.yml")
        with open(configuration, "w") as file:
            file.write("pool:\n  listen: 127.0.0.1:%d\n  hash: fnv1a_64\n  distribution: modula\n"
                       "  redis: true\n  backlog: 1024\n  server_connections: 1\n  servers:\n"
                       % self.port)
            for number, path in enumerate(paths, 1):
                file.write("   - %s:1 redis-%d\n" % (path, number))
        self.launch("twemproxy", ["nutcracker", "-c", configuration, "-v", "0", "-a", "127.0.0.1",
                                  "-s", str(free_port())])
        self.wait_until(lambda: accepts(self.port), "twemproxy to serve")


class Cluster(Redis):
    """Redis Cluster of three masters."""

    title = "Redis Cluster of 3"

    def __init__(self, base, name, sync, cpu=None, shards=3):
        super().__init__(base, name, sync, cpu)
        self.shards = shards
        self.ports = []

    def start(self):
        for number in range(1, self.shards + 1):
            port = free_port()
            self.ports.append(port)
            self.launch_redis("redis-%d" % number,
                              ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes",
                               "--cluster-port", str(free_port())])
        for port in self.ports:
            self.wait_until(lambda port=port: accepts(port), "Redis to serve")
        self.port = self.ports[0]
        addresses = ["127.0.0.1:%d" % port for port in self.ports]
        subprocess.run(["redis-cli", "--cluster", "create"] + addresses + ["--cluster-yes"],
                       check=True, stdout=subprocess.DEVNULL)
        for port in self.ports:
            self.wait_until(lambda port=port: b"cluster_state:ok" in ask(port, "CLUSTER INFO"),
                            "the cluster to form")

    def fill(self, keys, value_size):
        """redis-benchmark names keys by a tag of the node that it asks: a few requests show which."""
        subprocess.run(["redis-benchmark", "--cluster", "-p", str(self.port), "-t", "set", "-n",
                        "1000", "-r", "1000", "-c", "9", "-q"], check=True, stdout=subprocess.DEVNULL)
        for port in self.ports:
            example = ask(port, "RANDOMKEY").split(b"\r\n")[1]
            prefix = example[:example.rindex(b":") + 1].replace(b"%", b"%%")
            fill_redis(port, range(keys), prefix + b"%012d", value_size)


# ---- Redis, by hand ----

def ask(port, command):
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(65536)


def fill_redis(port, numbers, form, value_size):
    """Writes a value to every key, a thousand at a time."""
    value = os.urandom(value_size)
    tail = b"\r\n$%d\r\n%s\r\n" % (value_size, value)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        for start in range(0, len(numbers), FILL_BATCH):
            batch = numbers[start:start + FILL_BATCH]
            keys = [form % number for number in batch]
            connection.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s%s" % (len(key), key, tail)
                                        for key in keys))
            replies = b""
            while len(replies) < 5 * len(keys):
                data = connection.recv(65536)
                if not data:
                    raise Trouble("Redis closed the connection while it was being filled")
                replies += data
            if replies != b"+OK\r\n" * len(keys):
                raise Trouble("Redis refused a write: %r" % replies[:100])

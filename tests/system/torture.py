"""Fleets that grow and shrink under load while their processes are killed, frozen, lose their power
and die at failpoints; every answer is judged (workload.py, linear.py), every key is read at the end.

    torture.py --runs 1000 [--seed S] [--jobs 2]      many runs, each a process of its own
    torture.py --one SEED                             one of them again

A run's choices follow from its seed; processes and threads still race anew each time. Prints a line a
run and a summary; exits 1 when a run was not clean, and leaves its output in a file that it names."""

import argparse
import concurrent.futures
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness
import power
from harness import OK, NOTFOUND, MISMATCH, UNAVAILABLE, UNKNOWN, BUSY, Client, Lost, Worker
from history import Broken
from linear import History
from workload import Load

SHARD_FLAGS = ["--file-size", "256K", "--merge-min", "64K", "--merge-dead", "20"]
SETTLE_SECONDS = 90
RUN_SECONDS = 300
ALLOWED = {OK, NOTFOUND, MISMATCH, UNAVAILABLE, UNKNOWN}


def failpoints(folder):
    """The names of the failpoints in the sources of a daemon."""
    names = set()
    for name in os.listdir(os.path.join(harness.SOURCE, folder)):
        if name.endswith(".c"):
            with open(os.path.join(harness.SOURCE, folder, name), encoding="utf-8") as source:
                names.update(re.findall(r'sc_failpoint\w*\("(\w+)"', source.read()))
    return sorted(names)


class Contenders:
    """Clients that do everything to the same few keys at once; the answers must be those of one store
    that does one thing at a time."""

    def __init__(self, urls, seed, clients=3, keys=6):
        self.urls = urls
        self.history = History()
        self.stopping = threading.Event()
        self.keys = [b"contended-%d-%d" % (seed, n) for n in range(keys)]
        self.versions = {key: 0 for key in self.keys}
        dice = random.Random(seed)
        self.workers = [Worker(self.run, random.Random(dice.random())) for _ in range(clients)]

    def run(self, dice):
        client = None
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = Client(dice.choice(self.urls))
                self.step(client, dice)
            except Lost:
                if client is not None:
                    client.close()
                client = None
                time.sleep(0.005)
            time.sleep(dice.random() * 0.004)
        if client is not None:
            client.close()

    def step(self, client, dice):
        key = dice.choice(self.keys)
        kind = dice.choice(["put", "incr", "get", "get", "del", "cas", "meta"])
        args = {"put": (dice.randrange(1 << 30),), "incr": (1,),
                "cas": (self.versions[key], dice.randrange(1 << 30))}.get(kind, ())
        request = [kind, key, *args]
        if kind == "cas":
            request = ["put", key, args[1], {"if_version": args[0]}]
        op = self.history.begin(key, kind, *args)
        try:
            reply = client.call(*request)
        except Lost:
            self.history.end(op, None)
            raise
        if reply[0] not in ALLOWED:
            raise Broken("unexpected answer %r to %r" % (reply, request))
        self.history.end(op, reply)
        if reply[0] == OK and kind in ("put", "cas", "meta"):
            self.versions[key] = reply[1] if kind != "meta" else reply[1]["version"]
        elif kind == "meta" and reply[0] == NOTFOUND:
            self.versions[key] = 0

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join()
        self.history.check()


class Bulk:
    """Keys that nobody changes: every scan must return every one of them, whatever moves."""

    def __init__(self, fleet, dice):
        self.urls = [fleet.url, fleet.ipc]
        self.values = {b"bulk-%d" % n: b"%d" % n * dice.randrange(1, 30)
                       for n in range(dice.choice([0, 500, 5000, 20000]))}
        with Client(fleet.url) as client:
            items = [[key, value] for key, value in self.values.items()]
            for at in range(0, len(items), 500):
                replies = client.ok("mput", items[at:at + 500])
                assert all(reply[0] == OK for reply in replies)
        self.stopping = threading.Event()
        self.scans = 0
        self.worker = Worker(self.run)

    def run(self):
        while not self.stopping.is_set():
            try:
                with Client(self.urls[self.scans % 2]) as client:
                    self.scan(client)
            except Lost:
                time.sleep(0.01)

    def scan(self, client):
        missing = set(self.values)
        cursor = None
        while not self.stopping.is_set():
            reply = client.call("scan", cursor, {"prefix": "bulk-", "values": True})
            if reply[0] in (UNAVAILABLE, UNKNOWN):
                time.sleep(0.01)
                continue  # the cursor is still good
            if reply[0] != OK:
                raise Broken("a scan got %r" % reply)
            for key, value in reply[2]:
                if self.values.get(key) != value:
                    raise Broken("a scan found %r under %r" % (value, key))
                missing.discard(key)
            cursor = reply[1]
            if cursor is None:
                if missing:
                    raise Broken("a scan missed %d keys, among them %r" %
                                 (len(missing), sorted(missing)[:5]))
                self.scans += 1
                return

    def stop(self):
        self.stopping.set()
        self.worker.join()

    def verify(self, client):
        keys = list(self.values)
        for at in range(0, len(keys), 500):
            replies = client.ok("mget", keys[at:at + 500])
            for key, reply in zip(keys[at:at + 500], replies):
                if reply != [OK, self.values[key]]:
                    raise Broken("%r of the bulk -> %r" % (key, reply))


class Run:
    def __init__(self, case, seed):
        self.case = case
        self.dice = random.Random(seed)
        self.seed = seed
        self.sync = self.dice.choice(["always", "always", "always", "20", "never"])
        self.fleet = case.fleet(self.dice.choice([1, 2, 2, 3]), sync=self.sync,
                                shard_flags=SHARD_FLAGS)
        self.members = {number: shard for number, shard in enumerate(self.fleet.shards, 1)}
        self.leaving = set()
        self.plain = {}  # the argv of a daemon without a failpoint
        self.started = len(self.fleet.shards)
        self.cancelled = False
        self.lock = threading.Lock()  # of starting and ending processes
        self.ended = threading.Event()
        self.trouble = None
        self.points = {"shard": failpoints("shard"), "coordinator": failpoints("coordinator")}
        self.note("%d shards, --sync %s" % (self.started, self.sync))

    def note(self, text):
        print("%8.3f %s" % (time.monotonic() % 1000, text), flush=True)

    # ---- Processes ----

    def daemons(self):
        return list(self.members.values()) + [self.fleet.coordinator]

    def watch(self):
        """Starts again what has died at a failpoint. This thread stays to the end of the process:
        what it has started dies with it (harness.die_with_parent)."""
        try:
            while not self.ended.wait(0.02):
                with self.lock:
                    for daemon in self.daemons():
                        if not daemon.running():
                            self.revive(daemon)
        except BaseException as error:  # raised again by settled()
            self.trouble = error
        threading.Event().wait()

    def revive(self, daemon):
        if daemon.process.returncode != -9:
            raise Broken("%s ended by itself with %d:\n%s" %
                         (daemon.name, daemon.process.returncode, daemon.tail()))
        daemon.ended_as_asked = True
        daemon.argv = self.plain.pop(daemon, daemon.argv)
        if self.power_may_fail(daemon) and self.dice.random() < 0.5:
            self.lose_power(daemon)
        daemon.start(wait=False)

    def power_may_fail(self, daemon):
        return self.sync == "always" and daemon is not self.fleet.coordinator

    def lose_power(self, daemon):
        directory = "%s/%s" % (self.fleet.dir, daemon.name)
        if os.path.exists(directory + "/DURABLE") and os.path.exists(directory + "/MANIFEST"):
            self.note("power loss of " + daemon.name)
            power.lose(self.dice, directory, power.KINDS)
            power.forget_mark(self.dice, directory, [])

    def kill(self, daemon):
        with self.lock:
            daemon.kill()

    def arm(self, daemon):
        """Starts a daemon anew so that it dies at a failpoint."""
        kind = "coordinator" if daemon is self.fleet.coordinator else "shard"
        if not self.points[kind]:
            return
        moving = [p for p in self.points[kind] if not p.startswith("merge")]
        name = self.dice.choice(moving or self.points[kind])
        point = "%s:%d" % (name, self.dice.choice([1, 1, 1, 2, 3, 5]))
        self.note("arm %s %s" % (daemon.name, point))
        with self.lock:
            daemon.kill()
            self.plain.setdefault(daemon, daemon.argv)
            daemon.argv = ["env", "SHARDCASK_FAILPOINT=" + point] + self.plain[daemon]
            daemon.start(wait=False)

    # ---- Harm ----

    def do_kill(self):
        for daemon in self.dice.sample(self.daemons(), self.dice.choice([1, 1, 1, 2])):
            self.note("kill " + daemon.name)
            self.kill(daemon)

    def do_kill_all(self):
        self.note("kill all")
        with self.lock:
            for daemon in self.daemons():
                daemon.process.kill()
            for daemon in self.daemons():
                daemon.kill()

    def do_freeze(self):
        daemon = self.dice.choice(self.daemons())
        self.note("freeze " + daemon.name)
        with self.lock:
            if daemon.running():
                daemon.signal(19)
        time.sleep(self.dice.random() * 0.5)
        with self.lock:
            if daemon.running():
                daemon.thaw()

    def do_arm(self):
        self.arm(self.dice.choice(self.daemons()))

    def do_nothing(self):
        pass

    def do_rate(self):
        self.ask("rebalance", {"bytes_per_second": self.dice.choice([0, 1 << 18, 1 << 20])})

    def do_pause(self):
        self.ask("rebalance", {"pause": True})
        time.sleep(self.dice.random() * 0.2)
        self.ask("rebalance", {"pause": False})

    def do_compact(self):
        self.ask("compact")

    def harm(self):
        time.sleep(self.dice.choice([0, 0.02, 0.1, 0.3]) * self.dice.random())
        self.dice.choice([self.do_kill, self.do_kill, self.do_kill_all, self.do_freeze, self.do_arm,
                          self.do_arm, self.do_arm, self.do_nothing, self.do_rate, self.do_pause,
                          self.do_compact])()

    # ---- Growing and shrinking ----

    def ask(self, *request):
        """Asks until there is an answer; an answer that got lost is asked for again."""
        deadline = time.monotonic() + 30 * harness.PATIENCE
        while True:
            try:
                with Client(self.fleet.url) as client:
                    reply = client.call(*request)
                if reply[0] not in (UNAVAILABLE, UNKNOWN, BUSY):
                    return reply
            except Lost:
                reply = None
            if time.monotonic() > deadline:
                raise Broken("no answer to %r: %r" % (request, reply))
            time.sleep(0.02)

    def add(self):
        self.started += 1
        daemon = self.fleet.make_shard(self.started)
        daemon.start()
        if self.dice.random() < 0.4:
            self.arm(daemon)
        self.note("add " + daemon.name)
        reply = self.ask("shard.add", daemon.url)
        number = reply[1] if reply[0] == OK else self.number_of(daemon.url)
        if number is None:
            raise Broken("shard.add -> %r" % reply)
        with self.lock:
            self.members[number] = daemon

    def number_of(self, url):
        """An addition whose answer was lost: the second one is refused as known."""
        for shard in self.ask("map")[1]["shards"]:
            if shard["url"] == url:
                return shard["id"]
        return None

    def remove(self):
        staying = [number for number in self.members if number not in self.leaving]
        if len(staying) < 2:
            self.add()
            return
        number = self.dice.choice(staying)
        self.note("remove shard %d" % number)
        reply = self.ask("shard.remove", number)
        if reply[0] not in (OK, NOTFOUND):
            raise Broken("shard.remove %d -> %r" % (number, reply))
        self.leaving.add(number)

    def disarm(self):
        for daemon in list(self.plain):
            with self.lock:
                daemon.kill()

    def settled(self):
        """Nothing moves and every shard of the map is up; daemons of shards that left are ended."""
        if self.trouble is not None:
            raise self.trouble
        try:
            with Client(self.fleet.url) as client:
                if client.ok("rebalance")["state"] != "idle":
                    return False
                shards = client.ok("map")["shards"]
        except (Lost, harness.StatusError):
            return False
        if any(shard["state"] != "up" for shard in shards):
            return False
        there = {shard["id"] for shard in shards}
        with self.lock:
            for number in [n for n in self.members if n not in there]:
                if number not in self.leaving:
                    raise Broken("shard %d left the map unasked" % number)
                self.members.pop(number).kill()
        return True

    def settle(self):
        harness.wait_for(self.settled, "the fleet to settle", SETTLE_SECONDS)
        self.leaving &= set(self.members)

    def check_map(self):
        layout = self.ask("map")[1]
        slots = {}
        at = 0
        for first, last, owner in layout["ranges"]:
            assert first == at, layout
            at = last + 1
            slots[owner] = slots.get(owner, 0) + at - first
        assert at == harness.SLOTS, layout
        assert set(slots) == set(self.members), (slots, sorted(self.members))
        assert max(slots.values()) - min(slots.values()) <= 1, slots

    # ---- The run ----

    def torture(self):
        bulk = Bulk(self.fleet, self.dice)
        contenders = Contenders([self.fleet.url, self.fleet.ipc], self.seed)
        load = Load(self.case, [self.fleet.url, self.fleet.ipc], self.seed, writers=2, keys=12,
                    sync_options=self.sync != "always")
        Worker(self.watch)
        for _ in range(self.dice.choice([2, 3, 4])):
            self.dice.choice([self.add, self.add, self.remove])()
            for _ in range(self.dice.choice([0, 1, 1, 2, 3])):
                self.harm()
            if self.dice.random() < 0.5:
                self.settle()
        self.ask("rebalance", {"bytes_per_second": 0, "pause": False})
        self.disarm()
        self.settle()
        self.ended.set()
        load.wait_for_progress(20)
        load.stop()
        contenders.stop()
        bulk.stop()
        others = list(bulk.values) + contenders.keys
        self.verify(load, bulk, others)
        self.restart_all()
        self.verify(load, bulk, others)
        self.note("answers by status: %s, %d scans, %d operations in contention" %
                  (load.statuses, bulk.scans, sum(map(len, contenders.history.keys.values()))))

    def restart_all(self):
        for daemon in self.daemons():
            daemon.kill()
            daemon.argv = self.plain.pop(daemon, daemon.argv)
        for daemon in self.daemons():
            daemon.start(wait=False)
        self.settle()

    def verify(self, load, bulk, others):
        self.check_map()
        load.verify(self.fleet.url, others)
        with Client(self.fleet.url) as client:
            bulk.verify(client)


def run_one(seed):
    class Torture(harness.SystemTest):
        log_tail = 200000

        def runTest(self):
            Run(self, seed).torture()

    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0).run(Torture())
    return 0 if result.wasSuccessful() else 1


def run_apart(seed):
    """One run as a process of its own; returns None or the file with its output."""
    with tempfile.NamedTemporaryFile("wb", prefix="torture-%d-" % seed, suffix=".log",
                                     delete=False) as log:
        try:
            code = subprocess.run([sys.executable, "-B", __file__, "--one", str(seed)], stdout=log,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
                                  timeout=RUN_SECONDS * harness.PATIENCE).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code == 0:
        os.unlink(log.name)
        return None
    return log.name


def run_many(first, count, jobs):
    seeds = range(first, first + count)
    bad = []
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done, (seed, log) in enumerate(zip(seeds, pool.map(run_apart, seeds)), 1):
            if log is not None:
                bad.append(seed)
            print("run %d of %d, seed %d: %s" % (done, count, seed, "ok" if log is None else
                                                 "NOT CLEAN, see " + log), flush=True)
    print("%d runs, seeds %d to %d, %d s: %d clean, %d not%s" %
          (count, first, first + count - 1, time.monotonic() - begun, count - len(bad), len(bad),
           ": seeds %s" % bad if bad else ""))
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", type=int, metavar="SEED")
    options = parser.parse_args()
    if not harness.BIN:
        sys.exit("SHARDCASK_BIN must name the directory of the daemons, for example build/bin")
    if options.one is not None:
        return run_one(options.one)
    return run_many(options.seed, options.runs, options.jobs)


if __name__ == "__main__":
    sys.exit(main())

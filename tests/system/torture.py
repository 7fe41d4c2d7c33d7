"""Fleets that grow and shrink under load while their processes are killed, frozen, lose their power and
die at failpoints, messages of moves are lost, late or come twice, moves are paused and cancelled, data is
merged, scrubbed and cleared. Clients go through the coordinator and directly to the shards; every answer
is judged (workload.py, contenders.py), every key is read at the end.

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
import mapfile
import power
from contenders import Contenders
from harness import OK, NOTFOUND, UNAVAILABLE, UNKNOWN, BUSY, Client, Lost, Worker
from history import Broken
from workload import Load

SHARD_FLAGS = ["--file-size", "256K", "--merge-min", "64K", "--merge-dead", "20"]
SETTLE_SECONDS = 90
RUN_SECONDS = 300
# Messages of a move: lost or late at the shard, sent twice by the coordinator.
MESSAGES = ["x.import", "x.export", "x.read", "x.write", "x.seal", "x.finish", "x.release", "x.drop",
            "x.grant"]


def failpoints(folder):
    """The names of the failpoints in the sources of a daemon that a move may pass."""
    names = set()
    for name in os.listdir(os.path.join(harness.SOURCE, folder)):
        if name.endswith(".c"):
            with open(os.path.join(harness.SOURCE, folder, name), encoding="utf-8") as source:
                names.update(re.findall(r'sc_failpoint\w*\("(\w+)"', source.read()))
    return sorted(name for name in names if not name.startswith(("merge", "backup")))


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
        self.clears = self.dice.random() < 0.2
        self.fleet = case.fleet(self.dice.choice([1, 2, 2, 3]), sync=self.sync,
                                shard_flags=SHARD_FLAGS)
        self.members = {number: shard for number, shard in enumerate(self.fleet.shards, 1)}
        self.weights = {number: 100 for number in self.members}
        self.leaving = set()  # or were to leave, before that was cancelled
        self.plain = {}  # the argv of a daemon without a failpoint
        self.started = len(self.fleet.shards)
        self.powerless = False  # every shard that is started again has lost its power
        self.lock = threading.Lock()  # of starting and ending processes
        self.ended = threading.Event()
        self.trouble = None
        self.points = {"shard": failpoints("shard"), "coordinator": failpoints("coordinator")}
        self.note("%d shards, --sync %s%s" % (self.started, self.sync,
                                              ", clears" if self.clears else ""))

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
        self.prepare(daemon)
        daemon.start(wait=False)

    def prepare(self, daemon):
        """What may have become of the files of a daemon that was killed."""
        if daemon is self.fleet.coordinator:
            if self.dice.random() < 0.3:
                self.note("a long map log")
                mapfile.lengthen(self.fleet.dir + "/coordinator/map.log")
        elif self.sync == "always" and (self.powerless or self.dice.random() < 0.5):
            self.lose_power(daemon)

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
        point = "%s:%d" % (self.dice.choice(self.points[kind]), self.dice.choice([1, 1, 1, 2, 3, 5]))
        if self.dice.random() < 0.3:
            point = "%s%s:%d:%s" % (
                self.dice.choice(MESSAGES), *self.dice.choice(
                    [("", self.dice.choice([1, 2, 3]), "repeat")] if kind == "coordinator" else
                    [(".reply", self.dice.choice([1, 2, 3]), self.dice.choice(["drop", "late"])),
                     ("", self.dice.choice([1, 2, 3]), "late")]))
        self.note("arm %s %s" % (daemon.name, point))
        with self.lock:
            daemon.kill()
            self.prepare(daemon)
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
        self.kill_all()

    def kill_all(self):
        with self.lock:
            for daemon in self.daemons():
                daemon.process.kill()
            for daemon in self.daemons():
                daemon.kill()
                if self.powerless:
                    self.prepare(daemon)
            self.powerless = False

    def do_blackout(self):
        self.note("power loss of all")
        self.powerless = True
        self.kill_all()

    def do_freeze(self):
        daemon = self.dice.choice(self.daemons())
        self.note("freeze " + daemon.name)
        with self.lock:
            if daemon.running():
                daemon.signal(19)
        time.sleep(self.dice.random() * self.dice.choice([0.05, 0.5, 0.5, 4]))
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

    def do_cancel(self):
        """What joins or leaves is ordinary then, with what it has; now and then it goes on at once."""
        self.note("cancel")
        self.ask("rebalance", {"cancel": True})
        if self.dice.random() < 0.5:
            self.ask("rebalance", {"pause": False})

    def do_compact(self):
        self.ask("compact")

    def do_scrub(self):
        self.ask("scrub")

    def harm(self):
        time.sleep(self.dice.choice([0, 0.02, 0.1, 0.3]) * self.dice.random())
        self.dice.choice([self.do_kill, self.do_kill, self.do_kill, self.do_kill_all, self.do_blackout,
                          self.do_freeze, self.do_freeze, self.do_arm, self.do_arm, self.do_arm,
                          self.do_arm, self.do_nothing, self.do_rate, self.do_pause, self.do_cancel,
                          self.do_compact, self.do_scrub])()

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
        daemon, weight = self.make()
        self.join(daemon, weight)

    def add_two(self):
        """At once; they are planned together."""
        workers = [Worker(self.join, *self.make()) for _ in range(2)]
        for worker in workers:
            worker.join()

    def make(self):
        self.started += 1
        daemon = self.fleet.make_shard(self.started)
        daemon.start()
        if self.dice.random() < 0.4:
            self.arm(daemon)
        return daemon, self.dice.choice([100, 100, 100, 50, 200, 330])

    def join(self, daemon, weight):
        self.note("add %s, weight %d" % (daemon.name, weight))
        reply = self.ask("shard.add", daemon.url, {"weight": weight})
        number = reply[1] if reply[0] == OK else self.number_of(daemon.url)
        if number is None:
            raise Broken("shard.add -> %r" % reply)
        with self.lock:
            self.members[number] = daemon
            self.weights[number] = weight

    def number_of(self, url):
        """An addition whose answer was lost: the second one is refused as known."""
        for shard in self.ask("map")[1]["shards"]:
            if shard["url"] == url:
                return shard["id"]
        return None

    def there_and_back(self):
        """Slots move to a new shard, where keys are deleted and written, and back again."""
        self.add()
        self.harm()
        if self.dice.random() < 0.7:
            self.settle()
        self.remove(max(self.members))

    def remove(self, number=None):
        staying = [member for member in self.members if member not in self.leaving]
        if len(staying) < 2:
            self.add()
            return
        number = number if number in staying else self.dice.choice(staying)
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
        self.leaving.clear()

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
        weights = sum(self.weights[number] for number in slots)
        for number, count in slots.items():
            assert abs(count - harness.SLOTS * self.weights[number] / weights) < 1, (slots, self.weights)

    # ---- The run ----

    def torture(self):
        self.begin_load()
        Worker(self.watch)
        for _ in range(self.dice.choice([2, 3, 4])):
            self.dice.choice([self.add, self.add, self.add_two, self.remove, self.remove,
                              self.there_and_back])()
            for _ in range(self.dice.choice([0, 1, 1, 2, 3])):
                self.harm()
            if self.dice.random() < 0.5:
                self.settle()
        self.ask("rebalance", {"bytes_per_second": 0, "pause": False})
        self.disarm()
        self.settle()
        self.ended.set()
        self.end_load()
        self.verify()
        self.restart_all()
        self.verify()
        self.note("%d operations in contention; answers by status: %s, %d scans" % (
            self.contenders.operations(), self.load and self.load.statuses,
            self.bulk.scans if self.bulk else 0))

    def begin_load(self):
        """Where everything is cleared now and then, only those are at work who reckon with it."""
        urls = [self.fleet.url, self.fleet.ipc]
        self.bulk = self.load = None
        if not self.clears:
            self.bulk = Bulk(self.fleet, self.dice)
            self.load = Load(self.case, urls, self.seed, writers=2, keys=12,
                             sync_options=self.sync != "always")
        self.contenders = Contenders(urls, self.seed, 3, 2, 40 if self.clears else 6, self.clears)

    def end_load(self):
        if self.load:
            self.load.wait_for_progress(20)
            self.load.stop()
            self.bulk.stop()
        self.contenders.stop()

    def restart_all(self):
        for daemon in self.daemons():
            daemon.kill()
            daemon.argv = self.plain.pop(daemon, daemon.argv)
        for daemon in self.daemons():
            daemon.start(wait=False)
        self.settle()

    def verify(self):
        self.check_map()
        if self.load:
            self.load.verify(self.fleet.url, list(self.bulk.values) + self.contenders.keys)
            with Client(self.fleet.url) as client:
                self.bulk.verify(client)
        self.contenders.verify(self.fleet.url)


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

"""What an operation costs, as counts that repeat on a busy machine too: instructions under callgrind,
system calls under strace, switches of threads. Prints a table, which docs/BENCHMARKS.md shows, and
fails when an operation takes more instructions than is recorded here: then find out why, or record
the new figure with its reason. Nothing depends on time, and where strace may not attach to a process,
there are no system calls in the table."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess

from harness import SystemTest, main, program, run, wait_for

# Instructions for each operation, of libraries too: what was measured, and some 15% more.
BOUNDS = {
    # load: (coordinator, shard)
    "put": (6100, 6800),
    "get": (6000, 5000),
    # 150 of the shard's look ahead (sc_bitcask_prefetch): they save more time than they take.
    "put, batches of 64": (1680, 3050),
    "get, batches of 64": (1680, 2350),
}
CALLERS = ["-c", "1"]
BATCHES = ["-c", "4", "--batch", "64"]
KEYS = 2000


def bench(url, arguments, requests):
    ran = run([program("shardcask-bench"), "--url", url, "--json", "--keys", str(KEYS), "--requests",
               str(requests)] + arguments)
    assert ran.code == 0, ran
    line = json.loads(ran.out)
    assert line["errors"] == 0 and line["missing"] == 0, line
    return line["operations"]


def statuses(daemon):
    """What the system tells of each thread."""
    texts = []
    for path in glob.glob("/proc/%d/task/*/status" % daemon.process.pid):
        with open(path) as file:
            texts.append(file.read())
    return texts


def switches(daemon):
    return sum(int(number) for text in statuses(daemon)
               for number in re.findall(r"ctxt_switches:\s+(\d+)", text))


class Tracer:
    """Counts the system calls of a process; None where that is not allowed or strace is missing."""

    def __init__(self, daemon, path):
        self.path = path
        self.process = None
        if shutil.which("strace") is None:
            return
        self.process = subprocess.Popen(["strace", "-f", "-c", "-o", path, "-p",
                                         str(daemon.process.pid)], stderr=subprocess.DEVNULL)
        wait_for(lambda: self.process.poll() is not None or traced(daemon), "strace to attach")

    def stop(self):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()
        with open(self.path) as file:
            total = re.search(r"^100\.00\s+\S+(?:\s+\d+)?\s+(\d+)(?:\s+\d+)?\s+total$", file.read(),
                              re.MULTILINE)
        return int(total.group(1)) if total else None


def traced(daemon):
    return all("TracerPid:\t0\n" not in text for text in statuses(daemon))


class Costs(SystemTest):
    def small_fleet(self, wrapper=()):
        fleet = self.fleet(shards=1, sync="never", start=False)
        for daemon in [fleet.coordinator] + fleet.shards:
            daemon.argv = [part.replace("@", daemon.name) for part in wrapper] + daemon.argv
        fleet.start()
        return fleet

    def instructions(self, arguments, requests):
        """Of coordinator and shard, from start to end, and how many operations that were."""
        path = self.make_dir()
        fleet = self.small_fleet(["valgrind", "--tool=callgrind", "--quiet",
                                  "--callgrind-out-file=%s/@.out" % path])
        operations = bench(fleet.url, ["-c", "1", "get"], 1)
        if arguments:
            operations = bench(fleet.url, ["--no-load"] + arguments, requests)
        counts = []
        for daemon in (fleet.coordinator, fleet.shards[0]):
            daemon.terminate()
            with open("%s/%s.out" % (path, daemon.name)) as file:
                counts.append(int(re.search(r"^summary: (\d+)", file.read(), re.MULTILINE).group(1)))
        return counts, operations

    def test_instructions_stay_within_their_bounds(self):
        base, _ = self.instructions([], 0)
        too_many = []
        print("\n%-22s %24s %24s" % ("instructions", "coordinator (bound)", "shard (bound)"))
        for name, bounds in BOUNDS.items():
            arguments = (BATCHES if "64" in name else CALLERS) + [name[:3]]
            counts, operations = self.instructions(arguments, 100 if "64" in name else 2000)
            each = [round((count - start) / operations) for count, start in zip(counts, base)]
            print("%-22s" % name, " ".join("%15d (%6d)" % pair for pair in zip(each, bounds)))
            for daemon, count, bound in zip(("coordinator", "shard"), each, bounds):
                if count > bound:
                    too_many.append("%s, %s: %d instructions, %d are the bound" % (
                        name, daemon, count, bound))
        self.assertEqual(too_many, [])

    def test_calls_and_switches_are_shown(self):
        fleet = self.small_fleet()
        path = self.make_dir()
        bench(fleet.url, ["-c", "1", "get"], 1)
        print("\n%-22s %24s %24s" % ("calls + switches", "coordinator", "shard"))
        for connections in (1, 50):
            for workload in ("put", "get"):
                arguments = ["--no-load", "-c", str(connections), workload]
                cells = []
                for daemon in (fleet.coordinator, fleet.shards[0]):
                    tracer = Tracer(daemon, path + "/strace")
                    operations = bench(fleet.url, arguments, 3000)
                    calls = tracer.stop()
                    before = switches(daemon)
                    operations_again = bench(fleet.url, arguments, 20000)
                    cells.append("%s + %.2f" % ("?" if calls is None else "%.2f" % (calls / operations),
                                                (switches(daemon) - before) / operations_again))
                print("%-22s %24s %24s" % ("%s, %d callers" % (workload, connections), *cells))


if __name__ == "__main__":
    main()

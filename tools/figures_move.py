"""What growing and shrinking a fleet costs those who use it meanwhile.

    grow      two shards become three, then four, while clients read and write all keys: how long
              requests to slots that were just handed over waited, and what the others noticed
    shrink    a shard leaves while as much as possible is written to its keys, and to no others: how
              long it takes until it is empty
    memory    a batch of slots with many keys leaves: how much memory the source takes more
    restart   a coordinator with 64 shards and a map log of a million entries

All fleets are on this machine, --sync always, the moves at their default rate."""

import argparse
import bisect
import os
import random
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import threading
import time

import msgpack
import xxhash

from move_fleet import Client, Fleet, slot_of
from move_load import Load, Samples, Syncs

SLOTS = 16384
PAUSE_MS = 5  # a pause may take so long, and three fsyncs
RATIO = 1.25  # p99 of slots that do not move, beside a move
MEMORY_MIB = 32
RESTART_SECONDS = 1


def parse():
    parser = argparse.ArgumentParser(prog="tools/figures-move", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=300000, metavar="N",
                        help="in the fleet that grows, of 1,000 bytes each (default 300000)")
    parser.add_argument("--seconds", type=float, default=5,
                        help="that is measured while nothing moves (default 5)")
    parser.add_argument("--connections", type=int, default=8, help="of the clients (default 8)")
    parser.add_argument("--crowd", type=int, default=250000, metavar="N",
                        help="keys of the large batch (default 250000)")
    parser.add_argument("--entries", type=int, default=1000000, help="of the map log (default 1000000)")
    parser.add_argument("--only", choices=["grow", "memory", "restart"],
                        help="grow (and shrink), or one of the others")
    parser.add_argument("--dir", help="where the temporary directory is made")
    return parser.parse_args()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


class Table:
    def __init__(self):
        self.fell_short = False
        print("| | | goal | |\n|---|---:|---:|---|", flush=True)

    def row(self, what, figure, goal="", met=None):
        self.fell_short = self.fell_short or met is False
        print("| %s | %s | %s | %s |" % (what, figure, goal, "" if met is None else
                                       "met" if met else "**missed**"), flush=True)


def fill(client, keys, size):
    value = os.urandom(size)
    for at in range(0, len(keys), 500):
        for reply in client.ok("mput", [[key, value] for key in keys[at:at + 500]]):
            assert reply[0] == 0, reply


# ---- Growing ----

class Batches:
    """Looks at the map again and again: which slots changed hands, and between which two looks."""

    def __init__(self, path):
        self.client = Client(path)
        self.found = []  # (from ns, to ns, set of slots)
        self.ended = threading.Event()
        self.owners = self.client.owners()
        self.before = time.monotonic_ns()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def look(self):
        now = time.monotonic_ns()
        owners = self.client.owners()
        moved = {slot for slot in range(SLOTS) if owners[slot] != self.owners[slot]}
        if moved:
            self.found.append((self.before, time.monotonic_ns(), moved))
        self.owners, self.before = owners, now

    def run(self):
        while not self.ended.wait(0.1):
            self.look()

    def stop(self):
        self.ended.set()
        self.thread.join()
        self.look()
        self.client.close()
        return self.found


def seen_pauses(samples, batches):
    """The longest write to each batch's slots about the time at which they were handed over, in ms."""
    longest = [0] * len(batches)
    of_slot = {slot: number for number, (_, _, slots) in enumerate(batches) for slot in slots}
    for slot, write, sent, took in samples.rows():
        number = of_slot.get(slot)
        if write and number is not None:
            begun, ended, _ = batches[number]
            if sent + took >= begun and sent <= ended:
                longest[number] = max(longest[number], took)
    return [took / 1e6 for took in longest if took > 0]


def p99s(samples, slots):
    """Of reads and of writes to `slots`, in ms."""
    times = {0: [], 1: []}
    for slot, write, _, took in samples.rows():
        if slot in slots:
            times[write].append(took / 1e6)
    return [percentile(times[kind], 0.99) for kind in (0, 1)]


def measure_quiet(fleet, keys, options):
    load = Load(fleet.path, keys, options.connections, 0.5)
    time.sleep(options.seconds)
    samples = load.stop()
    return p99s(samples, set(range(SLOTS))), samples


def measure_growth(fleet, keys, options):
    """While a shard joins: p99s of the slots that stay, samples, batches, seconds."""
    load = Load(fleet.path, keys, options.connections, 0.5)
    time.sleep(0.5)
    batches = Batches(fleet.path)
    begun = time.monotonic_ns()
    fleet.add()
    seconds = fleet.wait_idle()
    ended = time.monotonic_ns()
    found = batches.stop()
    samples = load.stop()
    moved = set().union(*(slots for _, _, slots in found))
    meanwhile = Samples()
    for slot, write, sent, took in samples.rows():
        if slot not in moved and begun <= sent <= ended:
            meanwhile.slots.append(slot)
            meanwhile.writes.append(write)
            meanwhile.sent.append(sent)
            meanwhile.took.append(took)
    return p99s(meanwhile, set(range(SLOTS)) - moved), samples, found, seconds


def grow(directory, table, options):
    fleet = Fleet(directory + "/grow", 2)
    try:
        idle = Syncs(directory)
        keys = [b"key-%012d" % n for n in range(options.keys)]
        time.sleep(1)
        idle = statistics.median(idle.stop())
        fill(fleet.client, keys, 1000)
        probed = random.sample(keys, min(20000, len(keys)))
        syncs = Syncs(directory)
        quiet, moving, seen, errors, seconds, count = [], [], [], {}, 0, 0
        p99, samples = measure_quiet(fleet, probed, options)
        quiet.append(p99)
        for _ in range(2):
            p99, samples, batches, took = measure_growth(fleet, probed, options)
            moving.append(p99)
            seen += seen_pauses(samples, batches)
            seconds += took
            count += sum(len(slots) for _, _, slots in batches)
            note_errors(errors, samples)
            p99, samples = measure_quiet(fleet, probed, options)
            quiet.append(p99)
            note_errors(errors, samples)
        syncs = syncs.stop()
        tell_growth(table, fleet, idle, syncs, quiet, moving, seen, errors, seconds, count)
        shrink(fleet, keys, table)
    finally:
        fleet.stop()


def note_errors(errors, samples):
    for status, number in samples.errors.items():
        errors[status] = errors.get(status, 0) + number


def tell_growth(table, fleet, idle, syncs, quiet, moving, seen, errors, seconds, count):
    sync = statistics.median(syncs)
    goal = PAUSE_MS + 3 * sync
    table.row("fsync of 4 KiB: idle, beside the load, its p99, ms",
              "%.1f, %.1f, %.1f" % (idle, sync, percentile(syncs, 0.99)))
    table.row("2 shards become 4: slots that moved, seconds", "%d, %.1f" % (count, seconds))
    told = [us / 1000 for us in fleet.pauses_us()]
    for name, pauses in (("told by the coordinator", told), ("seen by clients", seen)):
        last = percentile(pauses, 0.99)
        table.row("pause %s (%d): p50, p99, longest, ms" % (name, len(pauses)), "%.1f, %.1f, %.1f" %
                  (percentile(pauses, 0.5), last, max(pauses, default=float("nan"))),
                  "p99 %.1f" % goal, last <= goal)
    for kind, name in ((0, "gets"), (1, "puts")):
        without = statistics.median(p99[kind] for p99 in quiet)
        beside = statistics.median(p99[kind] for p99 in moving)
        table.row("p99 of %s to slots that stay: without, beside a move, ms; ratio" % name,
                  "%.1f, %.1f; %.2f" % (without, beside, beside / without), "%.2f" % RATIO,
                  beside / without <= RATIO)
    table.row("errors that clients saw", errors or 0, "0", not errors)


# ---- Shrinking ----

def shrink(fleet, keys, table):
    """The last shard leaves, and all writes go to it."""
    leaving = max(fleet.shards)
    owners = fleet.client.owners()
    theirs = [key for key in keys if owners[slot_of(key)] == leaving]
    load = Load(fleet.path, theirs, 4, 1, batch=32)
    time.sleep(1)
    begun = time.monotonic()
    told = len(fleet.pauses_us())
    fleet.client.ok("shard.remove", leaving)
    fleet.wait_idle()
    seconds = time.monotonic() - begun
    samples = load.stop()
    assert leaving not in {shard["id"] for shard in fleet.client.ok("map")["shards"]}
    puts = 32 * sum(1 for sent in samples.sent if sent >= begun * 1e9)
    pauses = [us / 1000 for us in fleet.pauses_us()[told:]]
    table.row("all puts go to the shard that leaves: puts/s, slots, seconds until it is empty",
              "%s, %d, %.1f" % (format(round(puts / seconds), ","), owners.count(leaving), seconds),
              "it ends", True)
    table.row("its pauses (%d): p50, p99, longest, ms" % len(pauses), "%.1f, %.1f, %.1f" % (
        percentile(pauses, 0.5), percentile(pauses, 0.99), max(pauses, default=float("nan"))))
    table.row("errors that clients saw", samples.errors or 0, "0", not samples.errors)


# ---- Memory ----

def crowd_of(slots, count):
    """Keys that are all in a few slots."""
    found, number = [], 0
    while len(found) < count:
        key = b"crowd-%d" % number
        number += 1
        if slot_of(key) in slots:
            found.append(key)
    return found


def memory(directory, table, options):
    """The source's memory while its last slots leave, which have most of its keys."""
    fleet = Fleet(directory + "/memory", 2, "1000")
    try:
        owners = fleet.client.owners()
        theirs = [slot for slot in range(SLOTS) if owners[slot] == 2]
        keys = crowd_of(set(theirs[-256:]), options.crowd)
        fill(fleet.client, keys, 100)
        load = Load(fleet.path, random.sample(keys, 5000), 4, 0.5, 100)
        time.sleep(1)
        before = fleet.anonymous_kib(2)
        most = before
        fleet.client.ok("shard.remove", 2)
        while not fleet.is_idle():
            most = max(most, fleet.anonymous_kib(2))
            time.sleep(0.01)
        errors = load.stop().errors
        assert fleet.client.ok("count") == len(keys)
        grown = (most - before) / 1024
        table.row("a batch of %s keys leaves: memory of the source before, growth, MiB" %
                  format(len(keys), ","), "%.1f, %.1f" % (before / 1024, grown), MEMORY_MIB,
                  grown <= MEMORY_MIB)
        table.row("errors that clients saw", errors or 0, "0", not errors)
    finally:
        fleet.stop()


# ---- Restarting ----

def entry(kind, payload):
    packed = msgpack.packb(payload)
    rest = struct.pack("<II", len(packed), kind) + packed
    return struct.pack("<Q", xxhash.xxh3_64_intdigest(rest)) + rest


def passes(layout, count):
    """Entries of a map log in which shards pass a slot to the next one and take it back (docs/FORMAT.md)."""
    numbers = [shard["id"] for shard in layout["shards"]]
    ends = {shard: first for first, _, shard in layout["ranges"]}
    move, epoch = 1, layout["epoch"]
    while count > 0:
        for at, shard in enumerate(numbers):
            other = numbers[(at + 1) % len(numbers)]
            for source, target in ((shard, other), (other, shard)):
                epoch += 1
                yield entry(7, [move, source, target, [[ends[shard]] * 2]])
                yield entry(8, [move, epoch])
                yield entry(9, move)
                move += 1
                count -= 3
            if count <= 0:
                return


def restart(directory, table, options):
    fleet = Fleet(directory + "/restart", 64)
    try:
        layout = fleet.client.ok("map")
        fleet.stop_coordinator()
        with open(fleet.dir + "/coordinator/map.log", "ab") as log:
            for data in passes(layout, options.entries):
                log.write(data)
            size = log.tell()
        answered, up = fleet.restart_coordinator()
        table.row("coordinator with 64 shards, map log of %s entries, %d MiB: seconds until it answers,"
                  " until all shards are up" % (format(options.entries, ","), size >> 20),
                  "%.2f, %.2f" % (answered, up), RESTART_SECONDS, up <= RESTART_SECONDS)
        fleet.stop_coordinator()
        table.row("the same with the log made shorter", "%.2f, %.2f" % fleet.restart_coordinator())
    finally:
        fleet.stop()


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = tempfile.mkdtemp(prefix="sc-move-", dir=options.dir)
    table = Table()
    try:
        for part in (grow, memory, restart):
            if options.only in (None, part.__name__):
                part(directory, table, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

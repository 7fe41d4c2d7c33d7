"""Disks that are full or fail while slots move: the move waits or ends, the source goes on owning and
serving, and the rest follows by itself when the disk is as it should be again."""

import os
import random

import harness
from harness import IO, OK, UNAVAILABLE, UNKNOWN, wait_for
from test_disk_full import SmallDisk
from test_move import MoveTest, slots_of
from workload import Load

BULK = 2000  # keys that lie there, and are checked at the end


def bulk(number):
    return b"bulk-%d" % number, b"%d " % number + bytes(2000)


class MoveDiskTest(MoveTest, SmallDisk):
    def setUp(self):
        super().setUp()
        seed = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
        print("SC_TEST_SEED=%d" % seed, flush=True)
        self.dice = random.Random(seed)

    def begin(self, fleet, allowed=(), readers=1):
        """Fills the fleet, and lets clients work on it; no slot moves yet."""
        client = fleet.client()
        client.ok("rebalance", {"pause": True})
        for first in range(0, BULK, 500):
            client.ok("mput", [list(bulk(n)) for n in range(first, first + 500)])
        load = Load(self, [fleet.url, fleet.ipc], self.dice.random(), writers=3, readers=readers,
                    keys=60, allowed=allowed, sync_options=False)
        load.wait_for_progress(200)
        return client, load

    def wait_for_trouble(self, fleet, *words):
        def told():
            plan = self.rebalance(fleet)
            troubles = [plan["trouble"]] + [move["trouble"] for move in plan["moves"]]
            return any(word in (trouble or "") for trouble in troubles for word in words)
        wait_for(told, "the trouble to be told: " + " or ".join(words), 60)

    def wait_known(self, fleet):
        wait_for(lambda: fleet.states() and "down" not in fleet.states().values(),
                 "every shard to be there")

    def resume(self, fleet):
        """Lets slots move."""
        def moves():
            plan = self.rebalance(fleet, {"pause": False})
            return plan["moves"] or plan["trouble"] or plan["state"] == "idle"
        wait_for(moves, "the moves to go on")

    def finish(self, fleet, load, others=()):
        """All slots have found their place, and everything is there."""
        self.wait_idle(fleet, 120)
        load.wait_for_progress(200)
        load.stop()
        client = fleet.client()
        load.verify(fleet.url, [bulk(n)[0] for n in range(BULK)] + list(others))
        for n in range(0, BULK, 7):
            key, value = bulk(n)
            self.assertEqual(client.ok("get", key), value)

    def add(self, fleet, weight=100):
        shard = fleet.make_shard(len(fleet.shards) + 1)
        fleet.shards.append(shard)
        shard.start()
        client = fleet.client()
        return client.ok("shard.add", shard.url, {"weight": weight})


class FullTarget(MoveDiskTest):
    def test_a_target_without_room_waits_for_it(self):
        fleet = self.fleet(shards=2)
        client, load = self.begin(fleet)
        disk = self.small_disk(fleet, "40M", 3)
        new = self.add(fleet)
        self.resume(fleet)
        self.wait_for_trouble(fleet, "MiB free")
        load.wait_for_progress(5000)
        self.assertNotIn(new, slots_of(client))
        # It is tried later and later, not all the time.
        self.assertLess(fleet.coordinator.text().count(b"could not be moved"), 12)
        self.resize(disk, "400M")
        client.ok("rebalance", {"pause": False})  # at once
        self.finish(fleet, load)
        self.assertEqual(slots_of(client)[new], harness.SLOTS // 3)

    def test_a_target_that_becomes_full_goes_on_when_there_is_room(self):
        fleet = self.fleet(shards=2)
        client, load = self.begin(fleet)
        disk = self.small_disk(fleet, "100M", 3)
        new = self.add(fleet)
        target = fleet.shards[2]
        self.restart_with(target, "import_taken:1:stop")
        self.wait_known(fleet)
        self.resume(fleet)
        os.waitid(os.P_PID, target.process.pid, os.WSTOPPED | os.WNOWAIT)  # in the middle of a copy
        self.put_ballast(disk)
        target.thaw()
        self.wait_for_trouble(fleet, "MiB free", "No space left on device")
        load.wait_for_progress(200)
        self.assertNotIn(new, slots_of(client))
        # Killed with the disk full, it comes back with the disk full.
        target.kill()
        self.restart_with(target, "")
        load.wait_for_progress(200)
        self.assertNotIn(new, slots_of(client))
        os.unlink(disk + "/ballast")
        self.finish(fleet, load)
        self.assertEqual(slots_of(client)[new], harness.SLOTS // 3)


class FullSource(MoveDiskTest):
    def full(self):
        """A fleet of one shard that has filled its disk."""
        fleet = self.fleet(shards=1, start=False, shard_flags=["--file-size", "1M"])
        disk = self.small_disk(fleet, "40M")
        fleet.start()
        client, load = self.begin(fleet, allowed=(IO,))
        number = 0
        while client.status("put", b"filler-%d" % number, bytes(20000)) == OK:
            number += 1
        return fleet, disk, load, [b"filler-%d" % n for n in range(number + 1)]

    def test_a_shard_that_is_full_is_relieved_by_another_one(self):
        fleet, _, load, fillers = self.full()
        new = self.add(fleet)
        self.resume(fleet)
        self.finish(fleet, load, fillers)
        client = fleet.client()
        self.assertEqual(slots_of(client)[new], harness.SLOTS // 2)
        # What has left makes room, by merges.
        mine = fleet.keys_of(1, 1)[0]
        wait_for(lambda: client.status("put", mine, bytes(20000)) == OK, "room for new records")

    def test_a_disk_that_others_have_filled_to_the_last_byte(self):
        fleet, disk, load, fillers = self.full()
        self.put_ballast(disk)
        new = self.add(fleet)
        self.resume(fleet)
        self.wait_for_trouble(fleet, "No space left on device")
        load.wait_for_progress(200)
        self.assertNotIn(new, slots_of(fleet.client()))
        os.unlink(disk + "/ballast")
        self.finish(fleet, load, fillers)
        self.assertEqual(slots_of(fleet.client())[new], harness.SLOTS // 2)


class FailingDisk(MoveDiskTest):
    """Reads, writes (cut short in the middle) and syncs that fail with EIO, at any time of a move of a
    few hundred slots."""

    def move_with(self, victim, kind, most):
        """Moves slots to a shard with little weight, while one call of a shard fails."""
        point = "%s:%d:fail" % (kind, self.dice.randrange(1, most))
        print(point, flush=True)
        fleet = self.fleet(shards=1)
        # No readers: they ask all shards at once for one thing or the other.
        _, load = self.begin(fleet, allowed=(UNAVAILABLE, UNKNOWN, IO), readers=1 - victim)
        new = self.add(fleet, weight=5)
        try:
            self.restart_with(fleet.shards[victim], point)
        except AssertionError:  # it could not even begin
            fleet.shards[victim].kill()
            self.restart_with(fleet.shards[victim], "")
        self.wait_known(fleet)
        load.wait_for_progress(50)
        before = dict(load.statuses)
        self.resume(fleet)
        for _ in range(8):
            load.wait_for_progress(30)
            if self.rebalance(fleet)["state"] == "idle":
                break
        if new not in slots_of(fleet.client()) and victim == 1:
            for status in (UNAVAILABLE, UNKNOWN, IO):
                self.assertEqual(load.statuses.get(status), before.get(status))
        fleet.shards[victim].kill()
        self.restart_with(fleet.shards[victim], "")
        self.finish(fleet, load)
        self.assertEqual(slots_of(fleet.client())[new], harness.SLOTS * 5 // 105)

    def test_a_source_whose_writes_fail(self):
        self.move_with(0, "io_write", 60)

    def test_a_source_whose_syncs_fail(self):
        self.move_with(0, "io_sync", 30)

    def test_a_source_whose_reads_fail(self):
        self.move_with(0, "io_read", 60)

    def test_a_target_whose_writes_fail(self):
        self.move_with(1, "io_write", 60)

    def test_a_target_whose_syncs_fail(self):
        self.move_with(1, "io_sync", 30)


if __name__ == "__main__":
    harness.main()

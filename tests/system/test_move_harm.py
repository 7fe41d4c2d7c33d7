"""Shards that come back with slots that are another's by now, and damage that is met while slots move."""

import glob
import os

import harness
from harness import CORRUPT, MOVED, NOTFOUND, OK, UNAVAILABLE, Client, slot_of, wait_for
from test_move import slots_of
from test_move_disk import MoveDiskTest

KEYS = [b"key-%d" % n for n in range(1000)]


def owned_by(client, number):
    ranges = [r for r in client.ok("map")["ranges"] if r[2] == number]
    return [key for key in KEYS if any(first <= slot_of(key) <= last for first, last, _ in ranges)]


class OldSlots(MoveDiskTest):
    """The source dies before it is told that its slots are another's, and stays away."""

    def check_source(self, url, moved, allowed):
        with Client(url) as direct:
            for key in moved:
                self.assertIn(direct.status("get", key), allowed)
                self.assertIn(direct.status("put", key, b"lost"), allowed)
            reply = direct.call("scan", None)
            if reply[0] == OK:
                self.assertFalse(set(moved) & set(direct.scan()))

    def test_a_shard_that_was_away_does_not_answer_for_them(self):
        fleet = self.fleet(shards=1)
        client = fleet.client()
        client.ok("mput", [[key, b"old"] for key in KEYS])
        client.close()
        self.restart_with(fleet.coordinator, "move_committed:1:stop")
        fleet.wait_up()
        new = self.add_shard(fleet)
        coordinator, source = fleet.coordinator.process.pid, fleet.shards[0]
        os.waitid(os.P_PID, coordinator, os.WSTOPPED | os.WNOWAIT)
        source.kill()
        fleet.coordinator.thaw()
        client = fleet.client()
        wait_for(lambda: owned_by(client, new) and client.status(
            "put", owned_by(client, new)[0], b"new") == OK, "the target to serve", 30)
        moved = owned_by(client, new)
        client.ok("mput", [[key, b"new"] for key in moved])
        client.ok("mdel", moved[::2])
        # It has them, as far as its directory knows; but nobody has granted them.
        fleet.coordinator.freeze()
        source.start()
        self.check_source(source.url, moved, (UNAVAILABLE, MOVED))
        fleet.coordinator.thaw()
        self.wait_idle(fleet)
        client = fleet.client()
        for again in range(2):
            if again:
                source.kill()
                source.start()
                self.wait_known(fleet)
            self.check_source(source.url, moved, (MOVED,))
            for n, key in enumerate(moved):
                self.assertEqual(client.call("get", key)[:1 + n % 2],
                                 [OK, b"new"] if n % 2 else [NOTFOUND])
        # Back where they were, among old records of them.
        client.ok("shard.remove", new)
        wait_for(lambda: new not in fleet.states(), "the new shard to leave", 60)
        for n, key in enumerate(moved):
            self.assertEqual(client.status("get", key), OK if n % 2 else NOTFOUND)
        self.assertEqual(client.ok("count"), len(KEYS) - len(moved[::2]))


class DamagedOnTheWay(MoveDiskTest):
    def spoil(self, fleet, number, content):
        """Changes a byte of the last copy of it that a shard has."""
        for path in sorted(glob.glob("%s/shard-%d/*.data" % (fleet.dir, number)), reverse=True):
            with open(path, "r+b") as data:
                place = data.read().rfind(content)
                if place >= 0:
                    data.seek(place)
                    data.write(bytes([content[0] ^ 0x20]))
                    return
        self.fail("%r is in no data file" % content)

    def fill(self, fleet):
        client = fleet.client()
        client.ok("mput", [[key, b"value of " + key + b"!"] for key in KEYS])
        return client

    def check(self, client, but=None):
        for key in KEYS:
            if key != but:
                self.assertEqual(client.ok("get", key), b"value of " + key + b"!")

    def test_damage_at_the_source_keeps_the_slots_there(self):
        fleet = self.fleet(shards=1)
        client = self.fill(fleet)
        bad = KEYS[7]
        fleet.shards[0].kill()
        self.spoil(fleet, 1, b"value of " + bad + b"!")
        fleet.shards[0].start()
        fleet.wait_up()
        new = self.add_shard(fleet)
        self.wait_for_trouble(fleet, "damaged")
        self.assertEqual(client.status("get", bad), CORRUPT)
        self.assertEqual(fleet.shard_of(bad), 1)
        self.check(client, but=bad)
        client.ok("put", bad, b"value of " + bad + b"!")
        self.wait_idle(fleet)
        self.assertEqual(slots_of(client)[new], harness.SLOTS // 2)
        self.check(client)

    def test_damage_at_the_target_makes_it_copy_again(self):
        fleet = self.fleet(shards=1)
        self.fill(fleet).close()
        self.restart_with(fleet.coordinator, "move_before_commit:1")
        fleet.wait_up()
        new = self.add_shard(fleet)
        wait_for(lambda: not fleet.coordinator.running(), "all to have arrived", 30)
        fleet.coordinator.kill()
        target = fleet.shards[1]
        target.kill()
        arrived = [key for key in KEYS if any(
            b"value of " + key + b"!" in open(path, "rb").read()
            for path in glob.glob(fleet.dir + "/shard-2/*.data"))]
        self.spoil(fleet, 2, b"value of " + arrived[0] + b"!")
        target.start()
        self.restart_with(fleet.coordinator, "")
        self.wait_idle(fleet)
        client = fleet.client()
        self.assertEqual(slots_of(client)[new], harness.SLOTS // 2)
        self.check(client)
        self.assertIn(b"a record that has arrived is damaged", target.text())


if __name__ == "__main__":
    harness.main()

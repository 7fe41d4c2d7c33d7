"""A disk that is full, or files that may not grow: writes answer 10, nothing that was acknowledged is
lost, reads and the other shards go on."""

import os
import subprocess
import unittest

import harness
from harness import IO, NOTFOUND, OK, SystemTest, wait_for


class DiskFullTest(SystemTest):
    def fill(self, client, keys, size=20000):
        """Writes until a write fails; returns what was acknowledged, and the status of the end."""
        acknowledged = {}
        for number, key in enumerate(keys):
            value = bytes([number % 256]) * size
            status = client.status("put", key, value)
            if status != OK:
                return acknowledged, status, (key, value)
            acknowledged[key] = value
        self.fail("the disk never became full")

    def check(self, client, acknowledged, unknown):
        for key, value in acknowledged.items():
            self.assertEqual(client.ok("get", key), value)
        reply = client.call("get", unknown[0])
        self.assertTrue(reply[0] == NOTFOUND or reply == [OK, unknown[1]], reply[0])

    def scenario(self, fleet, relieve):
        """Fills shard 1, looks at the damage, relieves it and restarts it."""
        client = fleet.client()
        mine, others = fleet.keys_of(1, 2000), fleet.keys_of(2, 20)
        acknowledged, status, unknown = self.fill(client, mine)
        self.assertEqual(status, IO)
        self.assertGreater(len(acknowledged), 10)
        reply = client.call("put", mine[-1], bytes(20000))
        self.assertEqual(reply[0], IO)
        self.assertGreater(len(reply[1]), 10)
        self.check(client, acknowledged, unknown)
        for key in others:
            client.ok("put", key, bytes(20000))
            self.assertEqual(client.ok("get", key), bytes(20000))
        replies = client.ok("mput", [[mine[-1], bytes(20000)]] + [[k, 1] for k in others])
        self.assertEqual([r[0] for r in replies], [IO] + [OK] * len(others))
        self.assertTrue(fleet.shards[0].running())
        relieve()
        # Cleanly stopped or killed: what was acknowledged is there.
        fleet.shards[0].kill()
        fleet.shards[0].start()
        fleet.wait_up()
        client = fleet.client()
        self.check(client, acknowledged, unknown)
        for key in mine[-20:]:
            client.ok("put", key, b"again")
            self.assertEqual(client.ok("get", key), b"again")
        fleet.shards[0].restart()
        fleet.wait_up()
        self.check(client, acknowledged, unknown)

    def limit(self, fleet, size):
        pid = str(fleet.shards[0].process.pid)
        subprocess.run(["prlimit", "--pid", pid, "--fsize=%s" % size], check=True)

    def test_a_file_that_may_not_grow(self):
        fleet = self.fleet(shards=2)
        fleet.client().ok("mput", [[b"before-%d" % n, n] for n in range(100)])
        self.limit(fleet, 1 << 20)
        self.scenario(fleet, lambda: None)
        self.assertEqual(fleet.client().ok("get", b"before-7"), 7)

    def test_delayed_sync_tells_too(self):
        fleet = self.fleet(shards=2, sync="50")
        client = fleet.client()
        keys = fleet.keys_of(1, 2000)
        client.ok("put", keys[0], 1)
        self.limit(fleet, 1 << 20)
        acknowledged, status, unknown = self.fill(client, keys[1:])
        self.assertEqual(status, IO)
        self.check(client, acknowledged, unknown)
        fleet.shards[0].kill()
        fleet.shards[0].start()
        fleet.wait_up()
        self.check(client, acknowledged, unknown)

    def test_a_disk_that_is_full(self):
        fleet = self.fleet(shards=2, start=False)
        disk = fleet.dir + "/shard-1"
        os.mkdir(disk)
        mount = ["mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", disk]
        if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("no right to mount a small disk")

        class Mounted:
            @staticmethod
            def close():
                fleet.shards[0].cleanup()
                wait_for(lambda: subprocess.run(["umount", disk], check=False).returncode == 0,
                         "the disk to be let go")
        self.closing(Mounted)
        fleet.start()
        self.scenario(fleet, lambda: subprocess.run(
            ["mount", "-o", "remount,size=100M", disk], check=True))


if __name__ == "__main__":
    harness.main()

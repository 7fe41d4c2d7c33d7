"""A disk that is full, or files that may not grow: writes answer 10, nothing that was acknowledged is
lost, reads and the other shards go on."""

import os
import random
import subprocess
import unittest

import harness
from harness import IO, NOTFOUND, OK, UNAVAILABLE, UNKNOWN, Client, SystemTest, wait_for
from workload import Load


class SmallDisk(SystemTest):
    def limit(self, fleet, size, number=1):
        """For the files of a shard, until another limit is set."""
        pid = str(fleet.shards[number - 1].process.pid)
        subprocess.run(["prlimit", "--pid", pid, "--fsize=%s:unlimited" % size], check=True)

    def small_disk(self, fleet, size, number=1):
        """Gives a shard that was not started yet a disk of its own; returns its directory."""
        disk = fleet.dir + "/shard-%d" % number
        os.mkdir(disk)
        mount = ["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", disk]
        if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("no right to mount a small disk")

        class Mounted:
            @staticmethod
            def close():
                for shard in fleet.shards[number - 1:number]:
                    shard.cleanup()
                wait_for(lambda: subprocess.run(["umount", disk], check=False).returncode == 0,
                         "the disk to be let go")
        self.closing(Mounted)
        return disk

    def resize(self, disk, size):
        subprocess.run(["mount", "-o", "remount,size=" + size, disk], check=True)

    def put_ballast(self, disk):
        """Uses up what is free."""
        with open(disk + "/ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass


class DiskFullTest(SmallDisk):
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
        disk = self.small_disk(fleet, "3M")
        fleet.start()
        self.scenario(fleet, lambda: self.resize(disk, "100M"))


class UnderLoad(SmallDisk):
    """The same with clients that judge every answer (workload.py)."""

    def fill_up(self, client, fleet):
        """Uses up what has been allocated ahead."""
        filler = fleet.keys_of(1, 1, "filler")[0]
        while client.status("put", filler, bytes(20000)) == OK:
            pass
        client.ok("del", filler)

    def storm(self, fleet, fill, free):
        """fill() takes the space away, free() gives it back."""
        seed = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
        print("SC_TEST_SEED=%d" % seed, flush=True)
        load = Load(self, [fleet.url, fleet.ipc], seed, allowed=(UNAVAILABLE, UNKNOWN, IO),
                    sync_options=False)
        load.wait_for_progress(200)
        key = fleet.keys_of(1, 1, "probe")[0]
        with Client(fleet.url) as client:
            for _ in range(2):
                load.stop()  # so that it does not take more just now
                fill()
                load.start()
                wait_for(lambda: client.status("put", key, bytes(300)) == IO, "the disk to be full")
                load.wait_for_progress(200)  # reads, deletes, and the other shard
                reply = client.call("put", key, bytes(300))
                self.assertEqual(reply[0], IO)
                self.assertIn("shard-1", reply[1])
                # Killed with the disk full, it comes back with the disk full.
                fleet.shards[0].kill()
                fleet.shards[0].start()
                fleet.wait_up()
                load.wait_for_progress(200)
                # Space is found again without a restart.
                free()
                wait_for(lambda: client.status("put", key, bytes(300)) == OK, "space to be found")
                load.wait_for_progress(200)
            client.ok("del", key)
        load.stop()
        load.verify(fleet.url)
        for shard in fleet.shards:
            shard.kill()
            shard.start()
        fleet.wait_up()
        load.verify(fleet.url)
        print("answers by status: %s" % load.statuses)

    def test_a_file_that_may_not_grow(self):
        fleet = self.fleet(shards=2, shard_flags=["--file-size", "16M"])
        plain = fleet.shards[0].argv

        def fill():
            # No smaller than what the shard has made sure of already.
            folder = fleet.dir + "/shard-1/"
            size = max(max(stat.st_size, 512 * stat.st_blocks) for stat in
                       (os.stat(folder + name) for name in os.listdir(folder)))
            self.limit(fleet, size)
            fleet.shards[0].argv = ["prlimit", "--fsize=%d:unlimited" % size] + plain
            self.fill_up(fleet.client(), fleet)

        def free():
            self.limit(fleet, "unlimited")
            fleet.shards[0].argv = plain
        self.storm(fleet, fill, free)

    def test_a_disk_that_is_full(self):
        fleet = self.fleet(shards=2, start=False, shard_flags=["--file-size", "1M"])
        disk = self.small_disk(fleet, "30M")
        fleet.start()

        def fill():
            self.put_ballast(disk)
            self.fill_up(fleet.client(), fleet)
        self.storm(fleet, fill, lambda: os.unlink(disk + "/ballast"))


if __name__ == "__main__":
    harness.main()

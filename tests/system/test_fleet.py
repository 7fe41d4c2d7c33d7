"""tools/fleet: a fleet in a directory is started, shown, broken, mended and stopped."""

import json
import os
import signal

import harness
from harness import PATIENCE, SOURCE, SystemTest, free_port, shardcask, wait_for

FLEET = os.path.join(SOURCE, "tools/fleet")


class FleetTest(SystemTest):
    def setUp(self):
        super().setUp()
        self.dir = self.make_dir() + "/data"
        self.url = "tcp://127.0.0.1:%d" % free_port()

    def tearDown(self):
        if os.path.isdir(self.dir):
            self.run_fleet("down")
        super().tearDown()

    def run_fleet(self, *args):
        return harness.run([FLEET, *args, "--dir", self.dir], seconds=60,
                           env={"SHARDCASK_BIN": harness.BIN,
                                "SHARDCASK_FLEET_TIMEOUT": str(int(30 * PATIENCE))})

    def done(self, *args):
        ran = self.run_fleet(*args)
        self.assertEqual(ran.code, 0, (args, ran))
        return ran.out

    def up(self, *args):
        return self.done("up", "--listen", self.url, *args)

    def pid(self, name):
        with open(os.path.join(self.dir, name + ".pid"), encoding="ascii") as pid:
            return int(pid.read())

    def runs(self, pid):
        try:
            with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def rows(self):
        """Process name -> state, as status shows them."""
        ran = self.run_fleet("status")
        return {line.split()[0]: line[22:36].strip() for line in ran.out.splitlines()[1:]}

    def test_a_life(self):
        out = self.up("-n", "3")
        self.assertIn(self.url, out)
        self.assertEqual(shardcask(self.url, "put", "k", "1").code, 0)
        self.assertEqual(self.rows(), {"coordinator": "serving", "shard-1": "serving",
                                       "shard-2": "serving", "shard-3": "serving"})
        shards = json.loads(shardcask(self.url, "shards").out)
        self.assertEqual([s["url"] for s in shards],
                         ["ipc://%s/shard-%d/shard.sock" % (os.path.realpath(self.dir), n)
                          for n in (1, 2, 3)])
        pids = [self.pid(n) for n in ("coordinator", "shard-1", "shard-2", "shard-3")]
        self.assertIn("4 processes", self.done("down"))
        self.assertFalse(any(self.runs(pid) for pid in pids))
        self.assertIn("0 processes", self.done("down"))
        # The number and the address are remembered.
        ran = self.run_fleet("up", "-n", "5")
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("3 shards", ran.err)
        self.assertEqual(shardcask(self.url, "get", "k").out, "1\n")

    def test_up_twice_changes_nothing(self):
        self.up("-n", "1")
        before = self.pid("shard-1"), self.pid("coordinator")
        self.up()
        self.assertEqual((self.pid("shard-1"), self.pid("coordinator")), before)

    def test_up_mends_what_has_died(self):
        self.up("-n", "2")
        for n in range(50):
            shardcask(self.url, "put", "k%d" % n, str(n))
        os.kill(self.pid("shard-2"), signal.SIGKILL)
        os.kill(self.pid("coordinator"), signal.SIGKILL)
        wait_for(lambda: self.rows()["shard-2"] == "stopped", "status to show it")
        ran = self.run_fleet("status")
        self.assertEqual(ran.code, 1)
        self.up()
        self.assertEqual(set(self.rows().values()), {"serving"})
        self.assertEqual(shardcask(self.url, "count").out, "50\n")

    def test_restart(self):
        self.up("-n", "2")
        shardcask(self.url, "put", "k", "1")
        before = self.pid("shard-1")
        self.done("restart", "1")
        self.assertNotEqual(self.pid("shard-1"), before)
        os.kill(self.pid("shard-2"), signal.SIGKILL)
        self.done("restart", "shard-2")
        self.done("restart", "coordinator")
        self.assertEqual(set(self.rows().values()), {"serving"})
        self.done("restart")
        self.assertEqual(shardcask(self.url, "get", "k").out, "1\n")
        self.assertEqual(self.run_fleet("restart", "9").code, 2)

    def test_options_reach_the_shards_and_stay(self):
        self.up("-n", "1", "--sync", "100")
        with open("/proc/%d/cmdline" % self.pid("shard-1"), "rb") as line:
            self.assertIn(b"--sync=100", line.read())
        self.done("restart", "1")
        with open("/proc/%d/cmdline" % self.pid("shard-1"), "rb") as line:
            self.assertIn(b"--sync=100", line.read())

    def test_a_start_that_fails_says_why_and_leaves_nothing(self):
        ran = self.run_fleet("up", "-n", "1", "--sync", "nonsense", "--listen", self.url)
        self.assertEqual(ran.code, 1)
        self.assertIn("nonsense", ran.err)
        self.assertEqual(set(self.rows().values()), {"stopped"})
        self.up("-n", "1")  # and what was wrong is not remembered

    def test_an_address_that_is_taken(self):
        other = self.fleet(shards=1)
        ran = self.run_fleet("up", "-n", "1", "--listen", other.url)
        self.assertEqual(ran.code, 1, ran)
        self.assertIn(other.url, ran.err)
        self.assertEqual(set(self.rows().values()), {"stopped"})

    def test_a_stale_pid_is_not_signalled(self):
        self.up("-n", "1")
        os.kill(self.pid("shard-1"), signal.SIGKILL)
        with open(os.path.join(self.dir, "shard-1.pid"), "w", encoding="ascii") as pid:
            pid.write("%d\n" % os.getpid())
        self.done("down")  # and this test is alive

    def test_logs(self):
        self.up("-n", "1")
        self.assertIn("ready to serve", self.done("logs", "1"))
        self.assertIn("ready to serve", self.done("logs", "coordinator"))
        self.assertIn("ready to serve", self.done("logs"))

    def shards(self):
        return json.loads(shardcask(self.url, "shards").out)

    def fails(self, *args):
        ran = self.run_fleet(*args)
        self.assertEqual(ran.code, 1, (args, ran))
        return ran.err

    def test_it_grows_and_shrinks(self):
        self.up("-n", "1")
        shardcask(self.url, "put", "k", "1")
        self.assertIn("shard-3 serves", self.done("add", "2", "--weight", "200"))
        self.assertEqual(shardcask(self.url, "rebalance", "--watch").code, 0)
        self.assertEqual([(s["id"], s["weight"]) for s in self.shards()],
                         [(1, 100), (2, 200), (3, 200)])
        self.assertIn("shard 2 has left", self.done("remove", "2"))
        self.assertEqual(set(self.rows()), {"coordinator", "shard-1", "shard-3"})
        self.assertIn("there is no shard 2;", self.fails("remove", "2"))
        self.assertIn("there is no shard 9;", self.fails("remove", "9"))
        self.done("remove", "1")
        self.assertIn("the last one", self.fails("remove", "3"))
        self.assertEqual(shardcask(self.url, "get", "k").out, "1\n")
        self.assertIn("shard-4 serves", self.done("add"))  # numbers are not used again

    def test_a_shard_that_may_have_been_added_is_left_alone(self):
        self.up("-n", "1")
        os.kill(self.pid("coordinator"), signal.SIGKILL)
        self.assertIn("nobody tells whether shard-2 was added", self.fails("add"))
        self.assertTrue(self.runs(self.pid("shard-2")))
        self.up()
        self.assertEqual([s["id"] for s in self.shards()], [1])
        # Its number is not used again. What the map does not have is put aside, not deleted.
        self.assertIn("shard-3 serves", self.done("add"))
        url = "ipc://%s/shard-3/shard.sock" % os.path.realpath(self.dir)
        self.assertIn(url, [s["url"] for s in self.shards()])
        os.mkdir(self.dir + "/shard-4")
        self.assertIn("is there already", self.fails("add"))

    def test_removing_may_be_interrupted(self):
        self.up("-n", "3")
        for n in range(20):
            shardcask(self.url, "put", "k%d" % n, str(n))
        shardcask(self.url, "rebalance", "--pause")
        waits = [harness.Worker(self.done, "remove", str(n)) for n in (2, 3)]
        wait_for(lambda: [s["state"] for s in self.shards()] == ["up", "leaving", "leaving"],
                 "both to leave at a time")
        self.done("restart", "coordinator")  # while they wait
        shardcask(self.url, "rebalance", "--cancel")
        for wait in waits:
            with self.assertRaisesRegex(AssertionError, "stays: the moves were cancelled"):
                wait.join()
        shardcask(self.url, "shard", "remove", "3")  # and nobody waits
        wait_for(lambda: len(self.shards()) == 2, "shard 3 to leave")
        self.assertIn("shard 3 has left", self.done("remove", "3"))
        self.assertEqual(set(self.rows()), {"coordinator", "shard-1", "shard-2"})
        os.kill(self.pid("coordinator"), signal.SIGKILL)
        self.assertIn("does not tell the map", self.fails("remove", "2"))
        self.assertEqual(self.rows()["shard-2"], "serving")
        self.up()
        self.assertEqual(shardcask(self.url, "count").out, "20\n")

    def test_usage(self):
        for args in ([], ["nonsense"], ["up", "-n", "0"], ["up", "-n", "x"], ["up", "-n"],
                     ["up", "more"], ["down", "more"], ["remove"], ["remove", "x"], ["add", "x"],
                     ["add", "1", "2"], ["add", "--weight"], ["add", "--weight", "x"]):
            self.assertEqual(self.run_fleet(*args).code, 2, args)
        self.assertEqual(harness.run([FLEET, "--help"]).code, 0)
        self.assertEqual(self.run_fleet("status").code, 1)
        self.dir = "/tmp/" + "x" * 200
        ran = self.run_fleet("up")
        self.assertEqual(ran.code, 2)
        self.assertIn("shorter --dir", ran.err)
        self.assertFalse(os.path.exists(self.dir))


if __name__ == "__main__":
    harness.main()

"""libshardcask against a real fleet: every function, the examples, and a storm in which processes
are killed while threads count keys up."""

import os
import re
import subprocess

import harness
from harness import PATIENCE, SystemTest, run, wait_for

BUILD = os.path.dirname(harness.BIN)
PROGRAM = os.path.join(BUILD, "tests", "test_client_fleet")


def example(name):
    return os.path.join(BUILD, "examples", "example-" + name)


class ClientTest(SystemTest):
    def test_every_function(self):
        fleet = self.fleet(shards=3)
        for url in (fleet.url, fleet.ipc):
            ran = run([PROGRAM], env={"SHARDCASK_TEST_URL": url,
                                      "CK_DEFAULT_TIMEOUT": str(60 * PATIENCE)}, seconds=300)
            self.assertEqual(ran.code, 0, ran)

    def test_examples(self):
        env = {"SHARDCASK_URL": self.fleet(sync="never").url}
        self.assertEqual(run([example("first")], env=env).out, "hello, world\n")
        history = example("sensor-history")
        self.assertEqual(run([history, "fill", "dev1", "1200"], env=env).code, 0)
        self.assertEqual(run([history, "fill", "dev11", "5"], env=env).code, 0)
        self.assertEqual(run([history, "record", "dev1", "90", "-1.5"], env=env).code, 0)
        ran = run([history, "show", "dev1", "60", "180"], env=env)
        self.assertEqual((ran.code, ran.out), (0, "60 20.1\n90 -1.5\n120 20.2\n"))
        ran = run([history, "show", "dev1", "0", "100000"], env=env)
        self.assertEqual(len(ran.out.splitlines()), 1201)
        ran = run([example("async"), "1000"], env=env)
        self.assertEqual((ran.code, ran.out),
                         (0, "".join("counter:%d 100\n" % i for i in range(10))))
        for argv in ([history], [history, "show", "a:b", "1", "2"], [history, "fill", "d", "x"],
                     [example("async")], [example("async"), "-1"]):
            ran = run(argv, env=env)
            self.assertEqual(ran.code, 2, (argv, ran))
            self.assertIn("usage", ran.err)
        ran = run([history, "record", "d", "1", "no json"], env=env)
        self.assertEqual(ran.code, 1)
        self.assertIn("not JSON", ran.err)

    def storm(self, fleet, disturb):
        """Counts keys up while disturb() does its worst; afterwards no acknowledged increment is
        missing, and none was applied twice."""
        storm = subprocess.Popen([PROGRAM, "storm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 env=dict(os.environ, SHARDCASK_TEST_URL=fleet.url))
        try:
            disturb()
            out = storm.communicate(timeout=60 * PATIENCE)[0].decode()
        finally:
            storm.kill()
            storm.wait()
        self.assertEqual(storm.returncode, 0)
        lines = re.findall(r"(\S+) applied=(\d+) unknown=(\d+) refused=(\d+) wrong=(\d+)", out)
        self.assertEqual(len(lines), 16, out)
        with harness.Client(fleet.url) as db:
            for key, applied, unknown, _, wrong in lines:
                self.assertEqual(wrong, "0", out)
                total = db.call("get", key.encode())
                total = total[1] if total[0] == harness.OK else 0
                self.assertGreaterEqual(total, int(applied), out)
                self.assertLessEqual(total, int(applied) + int(unknown), out)
        return sum(int(line[1]) for line in lines)

    def progress(self, fleet):
        """Waits until the storm counts again."""
        with harness.Client(fleet.url) as db:
            def total():
                replies = db.call("mget", [b"storm:%d" % i for i in range(16)])
                return replies[0] == harness.OK and all(r[0] == harness.OK for r in replies[1]) and \
                    sum(r[1] for r in replies[1])
            before = wait_for(total, "all keys to be there")
            wait_for(lambda: (total() or 0) > before + 50, "the storm to go on")

    def test_coordinator_killed_in_a_storm(self):
        fleet = self.fleet(sync="100")

        def disturb():
            for _ in range(4):
                self.progress(fleet)
                fleet.coordinator.kill()
                fleet.coordinator.start()
                fleet.wait_up()
            self.progress(fleet)
        self.assertGreater(self.storm(fleet, disturb), 0)

    def test_shards_killed_in_a_storm(self):
        fleet = self.fleet(sync="100")

        def disturb():
            for number in (1, 2, 1, 2):
                self.progress(fleet)
                shard = fleet.shards[number - 1]
                shard.kill()
                shard.start()
                fleet.wait_up()
            self.progress(fleet)
        self.assertGreater(self.storm(fleet, disturb), 0)


if __name__ == "__main__":
    harness.main()

"""The plan before slots are moved, weights, and the room that a plan needs; the moves as they are
shown on a terminal."""

import json
import os
import signal

import harness
from harness import BADREQUEST, BUSY, DENIED, NOTFOUND, OK, SLOTS, UNAVAILABLE, SystemTest, \
    shardcask, wait_for
from terminal import Terminal, plain
from test_move import slots_of

KEYS = 3000


class PlanTest(SystemTest):
    def open(self, shards=2, keys=KEYS, size=100, **options):
        self.db = self.fleet(shards=shards, **options)
        self.client = self.db.client()
        for first in range(0, keys, 1000):
            pairs = [[b"key-%d" % n, b"x" * size] for n in range(first, min(keys, first + 1000))]
            for status, _ in self.client.ok("mput", pairs):
                self.assertEqual(status, OK)

    def more(self, **options):
        """Another shard that runs and is not added."""
        shard = self.db.make_shard(len(self.db.shards) + 1, **options)
        self.db.shards.append(shard)
        return shard.start()

    def wait_idle(self):
        wait_for(lambda: self.client.ok("rebalance")["state"] == "idle", "the slots to have moved", 60)

    def weights(self):
        return {s["id"]: s["weight"] for s in self.client.ok("map")["shards"]}

    def keys_of_shards(self):
        return {s["id"]: s["keys"] for s in self.client.ok("stats")["shards"]}

    def check_sums(self, plan):
        for name in ("slots", "keys", "bytes"):
            self.assertEqual(plan[name], sum(move[name] for move in plan["moves"]), name)

    def check_nothing_changed(self, ranges):
        self.assertEqual(self.client.ok("map")["ranges"], ranges)
        self.assertEqual(self.client.ok("rebalance")["state"], "idle")


class DryRunTest(PlanTest):
    def test_what_is_planned_for_a_shard_that_joins_is_what_happens(self):
        self.open(shards=2)
        url = self.more().url
        before = self.client.ok("map")
        plan = self.client.ok("shard.add", url, {"dry_run": True})
        self.check_nothing_changed(before["ranges"])
        self.check_sums(plan)
        self.assertEqual(plan["slots"], SLOTS // 3)
        self.assertEqual({(m["from"], m["to"]) for m in plan["moves"]}, {(1, 3), (2, 3)})
        self.assertLessEqual(abs(plan["moves"][0]["slots"] - plan["moves"][1]["slots"]), 1)
        self.assertGreater(plan["bytes"], plan["keys"] * 100)
        keys = self.keys_of_shards()
        self.assertEqual(wait_for(lambda: self.client.call("shard.add", url)[1], "an id"), 3)
        self.wait_idle()
        # Which of the two gives one slot more is seen when the last one moves.
        after = self.keys_of_shards()
        for move in plan["moves"]:
            self.assertAlmostEqual(after[move["from"]], keys[move["from"]] - move["keys"], delta=9)
        self.assertAlmostEqual(after[3], plan["keys"], delta=9)

    def test_a_shard_that_leaves_and_one_that_weighs_more(self):
        self.open(shards=3)
        ranges = self.client.ok("map")["ranges"]
        keys = self.keys_of_shards()
        plan = self.client.ok("shard.remove", 2, {"dry_run": True})
        self.check_sums(plan)
        self.assertEqual({(m["from"], m["to"]) for m in plan["moves"]}, {(2, 1), (2, 3)})
        self.assertEqual(plan["keys"], keys[2])
        plan = self.client.ok("shard.weight", 1, 200, {"dry_run": True})
        self.check_sums(plan)
        self.assertEqual({(m["from"], m["to"]) for m in plan["moves"]}, {(2, 1), (3, 1)})
        self.assertEqual(plan["slots"], SLOTS // 2 - slots_of(self.client)[1])
        self.assertEqual(self.weights(), {1: 100, 2: 100, 3: 100})
        self.check_nothing_changed(ranges)

    def test_the_time_follows_from_the_rate(self):
        self.open(shards=2)
        self.client.ok("rebalance", {"bytes_per_second": 1000})
        plan = self.client.ok("shard.remove", 1, {"dry_run": True})
        self.assertEqual(plan["bytes_per_second"], 1000)
        self.assertGreaterEqual(plan["seconds"], plan["bytes"] // 1000)
        self.client.ok("rebalance", {"bytes_per_second": 0})
        self.assertIsNone(self.client.ok("shard.remove", 1, {"dry_run": True})["seconds"])

    def test_what_is_left_of_a_plan(self):
        self.open(shards=1)
        self.assertEqual(self.client.ok("rebalance", {"dry_run": True})["moves"], [])
        self.client.ok("rebalance", {"pause": True})
        for _ in range(3):
            url = self.more().url
            wait_for(lambda u=url: self.client.call("shard.add", u)[0] == OK, "a shard to be added")
        plan = self.client.ok("rebalance", {"dry_run": True})
        self.check_sums(plan)
        self.assertEqual({m["to"]: m["slots"] for m in plan["moves"]},
                         {id: SLOTS // 4 for id in (2, 3, 4)})
        self.client.ok("rebalance", {"cancel": True})
        self.assertEqual(self.client.ok("rebalance")["state"], "idle")
        self.assertEqual(self.client.ok("rebalance", {"dry_run": True}), plan)

    def test_what_is_refused(self):
        self.open(shards=2, keys=0)
        ranges = self.client.ok("map")["ranges"]
        dry = {"dry_run": True}
        self.assertEqual(self.client.status("shard.remove", 7, dry), NOTFOUND)
        self.assertEqual(self.client.status("shard.weight", 7, 100, dry), NOTFOUND)
        self.assertEqual(self.client.status("shard.weight", 1, 0), BADREQUEST)
        self.assertEqual(self.client.status("rebalance", {"dry_run": True, "pause": True}),
                         BADREQUEST)
        self.assertEqual(self.client.status("shard.add", self.db.shards[0].url, dry), BADREQUEST)
        nobody = "ipc://%s/nobody.sock" % self.db.dir
        self.assertEqual(self.client.status("shard.add", nobody, dry), UNAVAILABLE)
        other = self.fleet(shards=1)

        def ask():
            reply = self.client.call("shard.add", other.shards[0].url, dry)
            return None if reply[0] == BUSY else reply
        self.assertEqual(wait_for(ask, "an answer")[0], DENIED)
        self.db.shards[0].kill()
        self.db.wait_down(1)
        reply = self.client.call("shard.remove", 1, dry)
        self.assertEqual(reply[0], UNAVAILABLE)
        self.assertIn("shard 1 at", reply[1])
        self.db.shards[0].start()
        self.db.wait_up()
        self.check_nothing_changed(ranges)


class WeightTest(PlanTest):
    def test_a_weight_is_changed_and_kept(self):
        self.open(shards=3)
        self.client.ok("shard.weight", 2, 200)
        self.wait_idle()
        self.assertEqual(slots_of(self.client), {1: 4096, 2: 8192, 3: 4096})
        self.client.ok("shard.weight", 2, 1)
        self.db.coordinator.kill()
        self.db.coordinator.start()
        self.db.wait_up()
        self.client = self.db.client()
        self.assertEqual(self.weights(), {1: 100, 2: 1, 3: 100})
        self.wait_idle()
        self.assertIn(slots_of(self.client)[2], (SLOTS // 201, SLOTS // 201 + 1))
        self.assertEqual(self.client.ok("count"), KEYS)
        self.client.ok("shard.weight", 2, 100)
        self.wait_idle()
        owned = slots_of(self.client).values()
        self.assertLessEqual(max(owned) - min(owned), 1)
        self.assertEqual(self.client.ok("count"), KEYS)
        self.assertEqual(len(set(self.client.scan())), KEYS)


class RoomTest(PlanTest):
    LIMIT = 4 << 20

    def fill(self):
        """Three shards whose keys take between 40 and 60% of the memory that each may use."""
        self.open(shards=3, keys=0, sync="never", shard_flags=["--max-memory", str(self.LIMIT)])
        at = 0
        while min(s["keydir_bytes"] for s in self.client.ok("stats")["shards"]) < 0.4 * self.LIMIT:
            pairs = [[b"%0200d" % n, 1] for n in range(at, at + 500)]
            at += 500
            for status, _ in self.client.ok("mput", pairs):
                self.assertEqual(status, OK)
        self.assertLess(max(s["keydir_bytes"] for s in self.client.ok("stats")["shards"]),
                        0.6 * self.LIMIT)
        self.client.ok("rebalance", {"pause": True})

    def refused(self, *request):
        """Until the coordinator has heard how much there is by now."""
        def ask():
            reply = self.client.call(*request, {"dry_run": True})
            return reply if reply[0] == BUSY else None
        reply = wait_for(ask, "%r to be refused" % (request,))
        self.assertIn("--max-memory", reply[1])
        self.assertEqual(self.client.status(*request), BUSY)

    def test_the_sum_of_all_that_leave_must_fit(self):
        self.fill()
        self.refused("shard.weight", 1, 100000)
        self.client.ok("shard.remove", 2)
        self.refused("shard.remove", 3)
        self.assertEqual(self.db.states(), {1: "up", 2: "leaving", 3: "up"})
        self.client.ok("rebalance", {"pause": False})
        wait_for(lambda: 2 not in self.db.states(), "shard 2 to leave", 60)


class CommandTest(PlanTest):
    def cli(self, *args, code=0):
        ran = shardcask(self.db.url, *args)
        self.assertEqual(ran.code, code, ran)
        return ran.out if code == 0 else ran.err

    def terminal(self, *args):
        argv = [harness.program("shardcask"), "--url", self.db.url, *args]
        env = {"PATH": os.environ["PATH"], "TERM": "xterm"}
        env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        return self.closing(Terminal(argv, env))

    def shown(self, *args):
        """All that a command shows on a terminal."""
        terminal = self.terminal(*args)
        self.assertEqual(terminal.wait(), 0)
        while terminal.pump(0.05) and not terminal.output.endswith(b"\n"):
            pass
        return plain(terminal.output.decode())

    def test_weights_and_plans(self):
        self.open(shards=2)
        url = self.more().url
        plan = json.loads(self.cli("shard", "add", url, "--weight", "200", "--dry-run"))
        self.assertEqual(plan["slots"], SLOTS // 2)
        self.assertEqual(set(self.weights()), {1, 2})
        self.assertEqual(self.cli("shard", "add", url, "--weight", "200"), "3\n")
        self.assertEqual(self.weights()[3], 200)
        self.cli("rebalance", "--watch")
        self.assertEqual(slots_of(self.client), {1: 4096, 2: 4096, 3: 8192})
        plan = json.loads(self.cli("shard", "weight", "3", "100", "--dry-run"))
        self.assertEqual(self.weights()[3], 200)
        self.assertEqual({m["from"] for m in plan["moves"]}, {3})
        self.assertEqual(self.cli("shard", "weight", "3", "100"), '"ok"\n')
        self.assertEqual(self.weights()[3], 100)
        plan = json.loads(self.cli("shard", "remove", "3", "--dry-run"))
        self.assertEqual({m["from"] for m in plan["moves"]}, {3})
        for args in (["shard", "add", url, "--weight", "0"], ["shard", "weight", "3"],
                     ["shard", "weight", "3", "x"], ["shard", "remove", "3", "--weight", "5"],
                     ["rebalance", "--dry-run", "--watch"], ["rebalance", "--pause", "--cancel"],
                     ["shard", "add", url, "more"]):
            self.cli(*args, code=2)
        self.assertIn("is shard 3 already", self.cli("shard", "add", url, code=3))

    def test_on_a_terminal(self):
        self.open(shards=1)
        self.assertIn("nothing would move", self.shown("rebalance", "--dry-run"))
        self.assertIn("idle: nothing is to be moved; at most 8.0 MiB/s", self.shown("rebalance"))
        shown = self.shown("shard", "add", self.more().url, "--dry-run").splitlines()
        self.assertEqual(shown[0].split(), ["FROM", "TO", "SLOTS", "KEYS", "BYTES"])
        self.assertEqual(shown[1].split()[:3], ["1", "2", "8,192"])
        self.assertRegex(shown[-1], r"^8,192 slots would move, with [0-9,]+ keys in .*; about .* at 8")

    def test_the_view_ends_when_the_moves_do_and_not_the_other_way_round(self):
        self.open(shards=1, size=1000)
        self.client.ok("rebalance", {"bytes_per_second": 100000})
        self.client.ok("shard.add", self.more().url)
        view = self.terminal("rebalance", "--watch")
        view.expect(b"moving: ")
        view.expect(b"copying")
        view.expect(b"\x1b[J")  # drawn again
        os.kill(view.pid, signal.SIGINT)
        view.expect(b"no longer watching; the moves go on")
        self.assertEqual(view.wait(), 3)
        self.assertEqual(self.client.ok("rebalance")["state"], "moving")
        view = self.terminal("rebalance", "--watch", "--rate", "0")
        view.expect(b"idle: nothing is to be moved; no limit", 60)
        self.assertEqual(view.wait(), 0)
        self.assertEqual(slots_of(self.client), {1: 8192, 2: 8192})
        self.assertEqual(self.client.ok("count"), KEYS)


if __name__ == "__main__":
    harness.main()

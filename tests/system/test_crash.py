"""Processes that are killed, stopped and frozen under load: nothing that was acknowledged is lost, no
value is wrong, none goes back, what could not be done says so, and the rest of the store goes on.

SC_TEST_SEED=<number> repeats the choices of a run (threads and processes still race anew);
SHARDCASK_ROUNDS=<number> kills as often (default 12)."""

import os
import random
import shutil
import signal
import time

import harness
import power
from harness import OK, UNAVAILABLE, UNKNOWN, Client, Lost, StatusError, wait_for
from workload import Load

SEED = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
ROUNDS = int(os.environ.get("SHARDCASK_ROUNDS", 12))
# So that crashes meet new data files, hints, and merges.
SMALL_FILES = ["--file-size", "64K", "--merge-min", "64K", "--merge-dead", "20"]


class CrashTest(harness.SystemTest):
    def setUp(self):
        super().setUp()
        print("SC_TEST_SEED=%d" % SEED, flush=True)
        self.dice = random.Random(SEED)

    def load(self, fleet, **options):
        return Load(self, [fleet.url, fleet.ipc], SEED, **options)

    def check(self, fleet, load):
        """Ends the load, reads everything, and reads the same again after another crash."""
        load.stop()
        fleet.wait_up()
        load.verify(fleet.url)
        for daemon in fleet.shards + [fleet.coordinator]:
            daemon.kill()
        fleet.start()
        load.verify(fleet.url)
        print("answers by status: %s" % load.statuses)


class Kill(CrashTest):
    def kill_some(self, fleet):
        """kill -9 of one to all processes at once, and all of them started again at once."""
        processes = fleet.shards + [fleet.coordinator]
        choice = self.dice.random()
        if choice < 0.75:
            victims = [self.dice.choice(processes)]
        elif choice < 0.9:
            victims = self.dice.sample(processes, 2)
        else:
            victims = processes
        for victim in victims:
            victim.process.kill()
        for victim in victims:
            victim.kill()
            # Not seldom it dies again before it is ready.
            while self.dice.random() < 0.3:
                victim.start(wait=False)
                time.sleep(self.dice.random() * 0.05)
                victim.kill()
            victim.start(wait=False)
        for victim in victims:
            victim.wait_ready()

    def storm(self, sync, rounds):
        fleet = self.fleet(3, sync=sync, shard_flags=SMALL_FILES)
        load = self.load(fleet)
        for _ in range(rounds):
            load.wait_for_progress(self.dice.randrange(20, 200))
            time.sleep(self.dice.random() * 0.05)
            self.kill_some(fleet)
        fleet.wait_up()
        load.wait_for_progress()
        self.check(fleet, load)

    def test_nothing_acknowledged_is_lost_when_every_write_is_synced(self):
        self.storm("always", ROUNDS)

    def test_nothing_acknowledged_is_lost_when_syncs_come_each_second(self):
        self.storm("1000", ROUNDS // 2)

    def test_nothing_acknowledged_is_lost_when_nothing_is_synced(self):
        self.storm("never", ROUNDS // 2)


class Stop(CrashTest):
    def test_sigterm_under_load_loses_nothing_and_exits_with_0(self):
        for sync in ("always", "never"):
            fleet = self.fleet(2, sync=sync, shard_flags=SMALL_FILES)
            load = self.load(fleet)
            for daemon in (fleet.shards + [fleet.coordinator]) * 2:
                load.wait_for_progress()
                daemon.restart()
                fleet.wait_up()
            load.wait_for_progress()
            self.check(fleet, load)

    def test_a_stopping_coordinator_answers_what_it_has_begun(self):
        fleet = self.fleet(2)
        client = fleet.client()
        ids = [client.send("put", "k%d" % n, n) for n in range(500)]
        client.wait(ids[0])
        fleet.coordinator.signal(signal.SIGTERM)
        done = 0
        try:
            for number in ids[1:]:
                reply = client.wait(number)
                self.assertIn(reply[0], (OK, UNAVAILABLE))
                done += reply[0] == OK
        except Lost:
            pass  # what it had not read yet
        fleet.coordinator.terminate()
        fleet.coordinator.start()
        fleet.wait_up()
        self.assertGreaterEqual(fleet.client().ok("count"), done + 1)

    def test_clients_connect_again_to_a_coordinator_that_restarts(self):
        fleet = self.fleet(2)
        load = self.load(fleet, writers=8)
        for _ in range(4):
            load.wait_for_progress(100)
            self.dice.choice([fleet.coordinator.kill, fleet.coordinator.terminate])()
            time.sleep(self.dice.random() * 0.2)
            fleet.coordinator.start()
        load.wait_for_progress(100)
        self.check(fleet, load)


class Freeze(CrashTest):
    """A shard that is stopped with SIGSTOP holds its connections and answers nothing."""

    TIMEOUT_MS = int(700 * harness.PATIENCE)

    def setUp(self):
        super().setUp()
        self.frozen = self.fleet(2, coordinator_flags=["--timeout", str(self.TIMEOUT_MS)])
        self.mine = self.frozen.keys_of(1, 20)
        self.others = self.frozen.keys_of(2, 20)
        self.db = self.frozen.client()
        for key in self.mine + self.others:
            self.db.ok("put", key, 0)

    def check_down(self):
        """Within the time-out: 8 or 7 for the frozen shard's keys, everything for the others."""
        start = time.monotonic()
        self.frozen.shards[0].freeze()
        with Client(self.frozen.url) as other:
            writes = [self.db.send("put", key, 1) for key in self.mine[:10]]
            reads = [self.db.send("get", key) for key in self.mine[10:]]
            many = self.db.send("mput", [[key, 2] for key in self.mine[:3] + self.others[:3]])
            for _ in range(20):
                for key in self.others[10:]:
                    other.ok("incr", key)
            statuses = {self.db.wait(request_id)[0] for request_id in writes}
            self.assertIn(UNKNOWN, statuses)  # and 7 for what had not been sent to it yet
            self.assertLessEqual(statuses, {UNKNOWN, UNAVAILABLE})
            self.assertEqual({self.db.wait(request_id)[0] for request_id in reads}, {UNAVAILABLE})
            statuses = [item[0] for item in self.db.wait(many)[1]]
            self.assertEqual([s in (UNAVAILABLE, UNKNOWN) for s in statuses[:3]], [True] * 3)
            self.assertEqual(statuses[3:], [OK] * 3)
            self.frozen.wait_down(1)
            # From now on there is no wait.
            self.assertEqual(other.status("put", self.mine[0], 1), UNAVAILABLE)
            reply = other.call("count")
            self.assertEqual(reply[0], UNAVAILABLE)
            self.assertIn("shard 1", reply[1])
        self.assertLess(time.monotonic() - start, 10 * harness.PATIENCE)

    def test_its_keys_answer_in_time_and_the_others_go_on(self):
        self.check_down()
        self.frozen.shards[0].thaw()
        self.frozen.wait_up()
        for key in self.mine:
            self.assertIn(self.db.ok("get", key), (0, 1, 2))
        self.assertEqual([self.db.ok("get", key) for key in self.others[10:]], [20] * 10)

    def test_killed_while_frozen(self):
        self.check_down()
        self.frozen.shards[0].kill()
        self.frozen.shards[0].start()
        self.frozen.wait_up()
        for key in self.mine:
            self.assertEqual(self.db.ok("get", key), 0)  # nothing of it had been begun

    def test_a_frozen_coordinator_goes_on_where_it_was(self):
        waiting = []
        self.frozen.coordinator.freeze()
        for key in self.mine:
            waiting.append(self.db.send("incr", key))
        time.sleep(1.2 * self.TIMEOUT_MS / 1000)
        self.frozen.coordinator.thaw()
        statuses = [self.db.wait(request_id)[0] for request_id in waiting]
        self.frozen.wait_up()
        for key, status in zip(self.mine, statuses):
            if status == OK:
                self.assertEqual(self.db.ok("get", key), 1)
            else:
                self.assertIn(status, (UNAVAILABLE, UNKNOWN))

    def test_a_long_frozen_shard_applies_nothing_long_after(self):
        """Status 8: perhaps, but only within the next seconds. A shard that was frozen for longer
        must not carry out what has been in its socket since."""
        key = self.mine[0]
        for patience in range(3):
            self.frozen.shards[0].freeze()
            self.assertEqual(self.db.status("put", key, ["late", patience]), UNKNOWN)
            time.sleep(2.5 * self.TIMEOUT_MS / 1000)
            self.frozen.shards[0].thaw()
            self.frozen.wait_up()
            self.assertEqual(self.db.ok("get", key), 0)


class PowerLoss(CrashTest):
    """A machine that loses its power keeps what was synced; of all else it may keep a part, nothing,
    or rubbish. Played after kill -9 on everything behind the durable mark (power.py)."""

    def check_log(self, shard):
        """A power loss is no damage to what was acknowledged, and not reported as such."""
        for line in shard.text().decode().splitlines():
            if "lost" in line or "missing" in line:
                self.fail(line)

    def test_what_was_synced_survives_a_power_loss(self):
        fleet = self.fleet(2, sync="always", shard_flags=SMALL_FILES)
        directories = [fleet.dir + "/shard-%d" % n for n in (1, 2)]
        load = self.load(fleet, sync_options=False)
        for _ in range(max(2, ROUNDS // 2)):
            older = {}
            for _ in range(3):
                load.wait_for_progress(self.dice.randrange(20, 150))
                for directory in directories:
                    power.keep_links(directory)
                    older.setdefault(directory, []).append(power.durable_copy(directory))
            for shard in fleet.shards:
                shard.process.kill()
            for shard in fleet.shards:
                shard.kill()
            load.stop()
            for directory in directories:
                power.lose(self.dice, directory, power.KINDS)
                power.forget_mark(self.dice, directory, older[directory])
                power.bring_back(directory)
            for shard in fleet.shards:
                shard.start()
                self.check_log(shard)
            fleet.wait_up()
            load.verify(fleet.url)
            load.start()
        load.wait_for_progress()
        self.check(fleet, load)

    def test_with_a_sync_now_and_then_only_the_end_is_lost(self):
        fleet = self.fleet(1, sync="100")
        directory = fleet.dir + "/shard-1"
        db = fleet.client()
        at = 0
        for _ in range(3):
            for at in range(at + 1, at + 101):
                db.ok("put", b"%d" % at, at)
            _, written = power.durable_mark(directory)
            wait_for(lambda: power.durable_mark(directory)[0] >= written, "the sync of the interval")
            safe = at
            for at in range(at + 1, at + 101):
                db.ok("put", b"%d" % at, at)
            fleet.shards[0].kill()
            data = power.durable_copy(directory)
            power.lose(self.dice, directory, ["cut"])
            with open(directory + "/DURABLE", "wb") as mark:
                mark.write(power.of_another_boot(data))
            fleet.shards[0].start()
            fleet.wait_up()
            self.check_log(fleet.shards[0])
            there = [reply[0] == OK for reply in
                     db.ok("mget", [b"%d" % n for n in range(1, at + 1)])]
            self.assertTrue(all(there[:safe]))
            kept = there.index(False) if False in there else at
            self.assertFalse(any(there[kept:]))  # no gap: the end of the log, no more
            for at in range(kept + 1, at + 1):
                db.ok("put", b"%d" % at, at)


class Directories(CrashTest):
    """Shards that come back with a directory that is not theirs."""

    def setUp(self):
        super().setUp()
        self.three = self.fleet(3)
        self.keys = {number: self.three.keys_of(number, 10) for number in (1, 2, 3)}
        self.db = self.three.client()
        for row in self.keys.values():
            for key in row:
                self.db.ok("put", key, key)
        self.dirs_of = {n: "%s/shard-%d" % (self.three.dir, n) for n in (1, 2, 3)}

    def check_serves(self, up):
        for number, row in self.keys.items():
            for key in row:
                if number in up:
                    self.assertEqual(self.db.ok("get", key), key)
                    self.db.ok("put", key, key)
                else:
                    self.assertEqual(self.db.status("get", key), UNAVAILABLE)
                    self.assertEqual(self.db.status("put", key, 1), UNAVAILABLE)

    def why(self, number):
        for shard in self.db.ok("map")["shards"]:
            if shard["id"] == number:
                return shard.get("why", "")
        raise AssertionError("no shard %d in the map" % number)

    def stop(self, *numbers):
        for number in numbers:
            self.three.shards[number - 1].kill()

    def start(self, *numbers):
        for number in numbers:
            self.three.shards[number - 1].start()

    def test_swapped_directories_are_not_served(self):
        self.stop(1, 2)
        self.swap()
        self.start(1, 2)
        for number, other in ((1, 2), (2, 1)):
            wait_for(lambda: "shard %d:" % other in self.why(number),
                     "shard %d to be refused" % number)
        self.check_serves({3})
        for number in (1, 2):
            # Nobody writes to it past the coordinator either.
            with Client(self.three.shards[number - 1].url) as direct:
                for key in self.keys[1] + self.keys[2]:
                    self.assertEqual(direct.status("put", key, 1), UNAVAILABLE)
        self.stop(1, 2)
        self.swap()
        self.start(1, 2)
        self.three.wait_up()
        self.check_serves({1, 2, 3})

    def swap(self):
        first, second = self.dirs_of[1], self.dirs_of[2]
        os.rename(first, first + ".aside")
        os.rename(second, first)
        os.rename(first + ".aside", second)

    def test_an_emptied_directory_is_not_served(self):
        self.stop(1)
        os.rename(self.dirs_of[1], self.dirs_of[1] + ".kept")
        self.start(1)
        wait_for(lambda: "empty" in self.why(1), "shard 1 to be refused")
        self.check_serves({2, 3})
        self.three.coordinator.restart()
        self.db = self.three.client()
        wait_for(lambda: self.three.states().get(3) == "up" and self.three.states().get(2) == "up",
                 "the others to be up")
        self.check_serves({2, 3})
        self.stop(1)
        shutil.rmtree(self.dirs_of[1])
        os.rename(self.dirs_of[1] + ".kept", self.dirs_of[1])
        self.start(1)
        self.three.wait_up()
        self.check_serves({1, 2, 3})

    def test_a_shard_of_another_cluster_is_not_served(self):
        other = self.fleet(1)
        with Client(other.url) as client:
            client.ok("put", "theirs", 1)
        other.shards[0].kill()
        self.stop(2)
        os.rename(self.dirs_of[2], self.dirs_of[2] + ".kept")
        shutil.copytree(other.dir + "/shard-1", self.dirs_of[2])
        self.start(2)
        wait_for(lambda: "another cluster" in self.why(2), "shard 2 to be refused")
        self.check_serves({1, 3})
        self.assertRaises(StatusError, self.db.ok, "count")
        other.shards[0].start()


if __name__ == "__main__":
    harness.main()

"""Direct clients (libshardcask, option `direct`) on a real fleet: everything works as through the
coordinator, and goes on without it. The load (workload.py) reaches the library through a program
that does what it is asked with a direct handle (tests/client/direct_proxy.c).

SC_TEST_SEED=<number> repeats the choices of a run; SHARDCASK_ROUNDS=<number> kills as often."""

import os
import random
import time

import harness
from harness import BUSY, OK, PATIENCE, UNAVAILABLE, UNKNOWN, Client, Daemon, run, wait_for
from workload import Load

BUILD = os.path.dirname(harness.BIN)
SEED = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
ROUNDS = int(os.environ.get("SHARDCASK_ROUNDS", 10))
SMALL_FILES = ["--file-size", "64K", "--merge-min", "64K", "--merge-dead", "20"]


def test_program(name):
    return os.path.join(BUILD, "tests", name)


class DirectTest(harness.SystemTest):
    def setUp(self):
        super().setUp()
        print("SC_TEST_SEED=%d" % SEED, flush=True)
        self.dice = random.Random(SEED)

    def proxy(self, fleet, number=1, timeout_ms=2000):
        """Listens for requests and carries them out through a direct handle of its own."""
        url = "ipc://%s/direct-%d.sock" % (fleet.dir, number)
        argv = [test_program("direct_proxy"), url, fleet.url, str(int(timeout_ms * PATIENCE))]
        log = "%s/direct-%d.log" % (fleet.dir, number)
        return self.own(Daemon("direct-%d" % number, argv, log, url)).start()

    def load(self, *urls, **options):
        return Load(self, list(urls), SEED, allowed=(UNAVAILABLE, UNKNOWN, BUSY), **options)

    def check(self, fleet, load):
        load.stop()
        fleet.wait_up()
        load.verify(fleet.url)
        print("answers by status: %s" % load.statuses)

    def messages(self, fleet):
        """How many the coordinator has had."""
        with Client(fleet.url) as client:
            return client.ok("stats")["messages"]


class Functions(DirectTest):
    def test_every_function(self):
        fleet = self.fleet(shards=3)
        ran = run([test_program("test_client_fleet")], seconds=300,
                  env={"SHARDCASK_TEST_URL": fleet.url, "SHARDCASK_TEST_DIRECT": "1",
                       "CK_DEFAULT_TIMEOUT": str(60 * PATIENCE)})
        self.assertEqual(ran.code, 0, ran)

    def test_the_coordinator_has_nothing_to_do(self):
        fleet = self.fleet(shards=3, sync="never")
        before = self.messages(fleet)
        ran = run([harness.program("shardcask-bench"), "--url", fleet.url, "--direct", "-t", "5",
                   "--keys", "500", "--requests", "3000", "--no-load", "put", "get"])
        self.assertEqual(ran.code, 0, ran)
        self.assertLess(self.messages(fleet) - before, 50)
        self.assertGreater(fleet.client().ok("count"), 100)


class Storms(DirectTest):
    def kill(self, victims):
        for victim in victims:
            victim.process.kill()
        for victim in victims:
            victim.kill()
            victim.start(wait=False)
        for victim in victims:
            victim.wait_ready()

    def test_nothing_acknowledged_is_lost_when_processes_are_killed(self):
        fleet = self.fleet(3, shard_flags=SMALL_FILES)
        # One load on direct clients and on the coordinator, whose answers must fit each other.
        load = self.load(self.proxy(fleet, 1).url, self.proxy(fleet, 2).url, fleet.url)
        processes = fleet.shards + [fleet.coordinator]
        for _ in range(ROUNDS):
            load.wait_for_progress(self.dice.randrange(20, 200))
            time.sleep(self.dice.random() * 0.05)
            choice = self.dice.random()
            self.kill([self.dice.choice(processes)] if choice < 0.7 else
                      self.dice.sample(processes, 2) if choice < 0.9 else processes)
        fleet.wait_up()
        load.wait_for_progress()
        self.check(fleet, load)

    def test_without_a_coordinator_the_work_goes_on(self):
        fleet = self.fleet(3)
        load = self.load(self.proxy(fleet).url, writers=3, readers=0)
        load.wait_for_progress()
        for ending in (fleet.coordinator.kill, fleet.coordinator.terminate):
            ending()
            load.wait_for_progress(300)
            fleet.coordinator.start()
            fleet.wait_up()
        load.wait_for_progress()
        self.check(fleet, load)
        self.assertEqual(load.statuses.get(UNKNOWN, 0) + load.statuses.get(UNAVAILABLE, 0), 0)

    def test_a_frozen_coordinator_does_not_matter(self):
        fleet = self.fleet(2)
        load = self.load(self.proxy(fleet).url, writers=3, readers=0)
        load.wait_for_progress()
        fleet.coordinator.freeze()
        load.wait_for_progress(300)
        fleet.coordinator.thaw()
        load.wait_for_progress()
        self.check(fleet, load)


class Moves(DirectTest):
    def wait_idle(self, fleet):
        with Client(fleet.url) as client:
            wait_for(lambda: client.ok("rebalance")["state"] == "idle", "the moves to end", 60)

    def test_slots_that_move_are_followed(self):
        """Two shards become three, and two again, under a load on direct clients alone: no request
        fails, and the new shard is asked by them."""
        fleet = self.fleet(2, sync="100")
        proxies = [self.proxy(fleet, number, timeout_ms=20000) for number in (1, 2)]
        load = Load(self, [proxy.url for proxy in proxies], SEED, readers=0, allowed=())
        load.wait_for_progress(200)
        third = fleet.make_shard(3).start()
        with Client(fleet.url) as client:
            number = client.ok("shard.add", third.url)
            self.wait_idle(fleet)
            load.wait_for_progress(200)
            owners = {owner for _, _, owner in client.ok("map")["ranges"]}
            self.assertEqual(owners, {1, 2, number})
            with Client(third.url) as shard:
                self.assertGreater(shard.ok("stats")["gets"], 0)
            client.ok("shard.remove", number)
            self.wait_idle(fleet)
        load.wait_for_progress(200)
        load.stop()
        load.verify(fleet.url)
        self.assertEqual(set(load.statuses) - {OK, 1, 4}, set())


class Failures(DirectTest):
    def setUp(self):
        super().setUp()
        self.fleet_ = self.fleet(2, coordinator_flags=["--timeout", str(int(700 * PATIENCE))])
        self.mine = self.fleet_.keys_of(1, 10)
        self.others = self.fleet_.keys_of(2, 10)
        self.db = self.closing(Client(self.proxy(self.fleet_, timeout_ms=700).url))
        for key in self.mine + self.others:
            self.db.ok("put", key, 0)

    def check_shard_1_down(self):
        """Its keys fail and the others work, in one message and alone."""
        wait_for(lambda: self.db.call("get", self.mine[0])[0] == UNAVAILABLE, "7 for its keys")
        self.assertEqual(self.db.status("put", self.mine[1], 1), UNAVAILABLE)
        replies = self.db.ok("mput", [[key, 1] for key in self.mine[:3] + self.others[:3]])
        self.assertEqual([r[0] for r in replies], [UNAVAILABLE] * 3 + [OK] * 3)
        for key in self.others:
            self.db.ok("incr", key)

    def check_shard_1_back(self):
        self.fleet_.wait_up()
        for key in self.mine + self.others:
            wait_for(lambda key=key: self.db.call("incr", key)[0] == OK, "its keys to work again")

    def test_a_shard_that_is_down_fails_alone(self):
        self.fleet_.shards[0].kill()
        self.check_shard_1_down()
        self.fleet_.shards[0].start()
        self.check_shard_1_back()

    def test_a_shard_that_hangs_fails_alone_and_does_nothing_late(self):
        shard = self.fleet_.shards[0]
        shard.freeze()
        ids = [self.db.send("put", key, "late") for key in self.mine]
        self.assertLessEqual({self.db.wait(i)[0] for i in ids}, {UNKNOWN, UNAVAILABLE})
        self.check_shard_1_down()
        time.sleep(0.3)
        shard.thaw()
        self.fleet_.wait_up()
        # What was given up is not begun when it goes on.
        self.assertEqual([self.db.ok("get", key) for key in self.mine], [0] * len(self.mine))
        self.check_shard_1_back()

    def test_a_shard_at_its_address_that_is_another_clusters_is_not_used(self):
        other = self.fleet(2)
        shard = self.fleet_.shards[0]
        shard.terminate()
        self.check_shard_1_down()
        stranger = self.own(Daemon("stranger", list(other.shards[0].argv), other.dir + "/s.log",
                                   shard.url))
        stranger.argv[stranger.argv.index("--listen") + 1] = shard.url
        other.shards[0].terminate()
        stranger.start()  # waits for a grant of its own coordinator, which does not know of it
        self.check_shard_1_down()
        stranger.terminate()
        shard.start()
        self.check_shard_1_back()


if __name__ == "__main__":
    harness.main()

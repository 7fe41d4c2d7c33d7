"""What clients see while a shard is dead, frozen or not yet there, and after restarts."""

import time

import harness
from harness import OK, PATIENCE, UNAVAILABLE, UNKNOWN, Client, SystemTest, wait_for


class RestartTest(SystemTest):
    def test_a_restart_at_once_serves_the_same(self):
        fleet = self.fleet(shards=2)
        client = fleet.client()
        client.ok("mput", [[b"k%d" % n, n] for n in range(500)])
        versions = [client.ok("meta", b"k%d" % n)["version"] for n in range(20)]
        for daemon in fleet.shards + [fleet.coordinator]:
            daemon.kill()
            daemon.start(wait=False)
        for daemon in fleet.shards + [fleet.coordinator]:
            daemon.wait_ready()
        fleet.wait_up()
        client = fleet.client()
        self.assertEqual([r[1] for r in client.ok("mget", [b"k%d" % n for n in range(500)])],
                         list(range(500)))
        self.assertEqual([client.ok("meta", b"k%d" % n)["version"] for n in range(20)], versions)
        self.assertGreater(client.ok("put", b"k0", 1), max(versions))

    def test_deleted_and_expired_keys_stay_away_through_restarts(self):
        fleet = self.fleet(shards=1)
        client = fleet.client()
        for n in range(100):
            client.ok("put", b"k%d" % n, n, {"ttl_ms": 50} if n % 3 == 0 else {})
        client.ok("mdel", [b"k%d" % n for n in range(100) if n % 3 == 1])
        wait_for(lambda: client.ok("count") == 33, "keys to expire")
        for _ in range(3):
            fleet.shards[0].kill()
            fleet.shards[0].start()
            fleet.wait_up()
            self.assertEqual(sorted(client.scan()), sorted(b"k%d" % n for n in range(2, 100, 3)))


class DownTest(SystemTest):
    """What a client sees while a shard is away."""

    def test_only_the_keys_of_a_dead_shard_fail_and_at_once(self):
        fleet = self.fleet(shards=3)
        client = fleet.client()
        mine, others = fleet.keys_of(2, 50), fleet.keys_of(1, 50) + fleet.keys_of(3, 50)
        client.ok("mput", [[k, 1] for k in mine + others])
        fleet.shards[1].kill()
        fleet.wait_down(2)
        began = time.monotonic()
        for key in mine[:10]:
            for request in (["get", key], ["put", key, 2], ["del", key], ["incr", key],
                            ["exists", key], ["meta", key], ["touch", key, None]):
                self.assertEqual(client.status(*request), UNAVAILABLE, request)
        self.assertLess(time.monotonic() - began, 3 * PATIENCE)
        for key in others:
            self.assertEqual(client.ok("get", key), 1)
        mixed = mine + others
        for request in (["mget", mixed], ["mput", [[k, 1] for k in mixed]],
                        ["batch", [["get", k] for k in mixed]]):
            replies = client.ok(*request)
            self.assertEqual([r[0] for r in replies], [UNAVAILABLE] * 50 + [OK] * 100)
            self.assertIn("2", replies[0][1])
        for request in (["count"], ["clear"], ["sync"]):
            reply = client.call(*request)
            self.assertEqual(reply[0], UNAVAILABLE, request)
            self.assertIn("2", reply[1], request)
        self.assertEqual(client.ok("mget", others)[0], [OK, 1])  # clear has removed nothing
        stats = client.ok("stats")
        self.assertIn("shards", stats)
        # A scan tells what it can, until it comes to the slots of the dead one.
        cursor, found, status = None, [], OK
        while status == OK:
            reply = client.call("scan", cursor, {"limit": 10})
            status = reply[0]
            if status == OK:
                found += reply[2]
                cursor = reply[1]
                self.assertIsNotNone(cursor)
        self.assertEqual(status, UNAVAILABLE)
        self.assertTrue(set(found) <= set(others))
        fleet.shards[1].start()
        fleet.wait_up()
        self.assertEqual([client.ok("get", key) for key in mine], [1] * 50)
        self.assertEqual(client.ok("count"), 150)

    def test_a_frozen_shard_holds_up_only_its_own_keys(self):
        fleet = self.fleet(shards=2, coordinator_flags=["--timeout", "1000"])
        client = fleet.client()
        mine, other = fleet.keys_of(1, 3), fleet.keys_of(2, 3)
        for key in mine + other:
            client.ok("put", key, 1)
        fleet.shards[0].freeze()
        waiting = client.send("put", mine[0], 2)
        reading = client.send("get", mine[1])
        for _ in range(20):
            for key in other:
                self.assertEqual(client.ok("get", key), 1)
                client.ok("put", key, 1)
        self.assertEqual(client.wait(waiting)[0], UNKNOWN)
        self.assertIn(client.wait(reading)[0], (UNAVAILABLE, UNKNOWN))
        fleet.shards[0].thaw()
        fleet.wait_up()
        wait_for(lambda: client.call("get", mine[0])[0] == OK, "the shard to serve again")
        self.assertIn(client.ok("get", mine[0]), (1, 2))
        client.ok("put", mine[0], 3)
        self.assertEqual(client.ok("get", mine[0]), 3)

    def test_a_shard_that_is_away_at_the_start_joins_when_it_comes(self):
        fleet = self.fleet(shards=2)
        key = fleet.keys_of(2, 1)[0]
        fleet.client().ok("put", key, 1)
        fleet.coordinator.terminate()
        fleet.shards[1].terminate()
        fleet.coordinator.start()
        client = fleet.client()
        self.assertEqual(client.status("get", key), UNAVAILABLE)
        wait_for(lambda: fleet.states() == {1: "up", 2: "down"}, "the other shard to be up")
        fleet.shards[1].start()
        fleet.wait_up()
        self.assertEqual(client.ok("get", key), 1)

    def test_direct_clients_of_a_restarted_shard_wait_for_its_grant(self):
        fleet = self.fleet(shards=2)
        key = fleet.keys_of(1, 1)[0]
        fleet.client().ok("put", key, 1)
        fleet.coordinator.terminate()
        fleet.shards[0].kill()
        fleet.shards[0].start()
        with Client(fleet.shards[0].url) as shard:
            self.assertNotEqual(shard.status("get", key), OK)
            self.assertNotEqual(shard.status("put", key, 2), OK)
            fleet.coordinator.start()
            fleet.wait_up()
            self.assertEqual(shard.ok("get", key), 1)


if __name__ == "__main__":
    harness.main()

"""Exports and the snapshots that they read: what each shard held at one moment, while clients write,
shards merge and processes are restarted."""

import json
import os
import threading
import time

import harness
from harness import (BADREQUEST, BUSY, CORRUPT, NOTFOUND, OK, UNAVAILABLE, Client, SystemTest, Worker,
                     shardcask, wait_for)
from test_damage import Damage

DONE, ERROR, USAGE, UNREACHABLE = 0, 3, 2, 4


def read(db, snapshot, shard, cursor=None):
    """One page: next cursor, records {key: (value, version, expiry)}, and {key: status} of those that
    cannot be read."""
    next_cursor, _, items = db.ok("snapshot.read", snapshot, shard, cursor)
    good = {item[0]: tuple(item[1:]) for item in items if len(item) == 4}
    return next_cursor, good, {item[0]: item[1] for item in items if len(item) == 3}


def read_all(db, snapshot, shards):
    """Everything in a snapshot: {key: value}."""
    found = {}
    for shard, _ in shards:
        cursor = None
        while True:
            cursor, good, bad = read(db, snapshot, shard, cursor)
            assert not bad, bad
            assert not set(good) & set(found)
            found.update({key: record[0] for key, record in good.items()})
            if cursor is None:
                break
    return found


class Consistency(SystemTest):
    def exported(self, fleet):
        path = os.path.join(fleet.dir, "all.jsonl")
        ran = shardcask(fleet.url, "export", path)
        self.assertEqual(ran.code, DONE, ran)
        with open(path, encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        self.assertEqual(json.loads(ran.out)["exported"], len(records))
        return {record["key"]: record for record in records}

    def test_an_export_is_one_moment_of_each_shard(self):
        # Each writer counts its keys up one after the other: at any moment those before some key
        # have one more than those behind it.
        fleet = self.fleet(shards=2, sync="never", shard_flags=["--file-size", "64K"])
        stop = threading.Event()
        chains = [fleet.keys_of(shard, 300, "chain-%d" % shard) for shard in (1, 2, 1, 2)]
        chains[2], chains[3] = chains[2][150:], chains[3][150:]
        chains[0], chains[1] = chains[0][:150], chains[1][:150]
        with Client(fleet.url) as db:
            for keys in chains:
                db.ok("mput", [[key, [0, "x" * 100]] for key in keys])

        def count_up(keys):
            with Client(fleet.url) as db:
                n = 0
                while not stop.is_set():
                    n += 1
                    for key in keys:
                        db.ok("put", key, [n, "x" * 100])

        writers = [Worker(count_up, keys) for keys in chains]
        try:
            for _ in range(8):
                with Client(fleet.url) as db:
                    db.ok("compact")  # merges go on beside the export
                records = self.exported(fleet)
                for keys in chains:
                    counts = [records[key.decode()]["value"][0] for key in keys]
                    self.assertEqual(counts, sorted(counts, reverse=True))
                    self.assertLessEqual(counts[0] - counts[-1], 1)
        finally:
            stop.set()
        for writer in writers:
            writer.join()
        with Client(fleet.url) as db:
            shards = db.ok("stats")["shards"]
            self.assertEqual([shard["snapshots"] for shard in shards], [0, 0])
            wait_for(lambda: all(s["merges"] > 0 for s in db.ok("stats")["shards"]), "merges")

    def test_what_comes_and_goes_later_is_not_seen(self):
        fleet = self.fleet(shards=3)
        db = fleet.client()
        values = {b"key-%d" % n: n for n in range(5000)}
        db.ok("mput", [[key, value] for key, value in values.items()])
        db.ok("put", "fleeting", 1, {"ttl_ms": 3600000})
        snapshot, shards = db.ok("snapshot")
        self.assertEqual(sum(keys for _, keys in shards), 5001)
        db.ok("mput", [[b"key-%d" % n, "new"] for n in range(2500, 7500)])
        db.ok("mdel", [b"key-%d" % n for n in range(1000)])
        fleet.coordinator.restart()  # it has nothing to do with an open snapshot
        fleet.wait_up()
        db = fleet.client()
        first = read_all(db, snapshot, shards[:1])
        db.ok("clear")
        found = {**first, **read_all(db, snapshot, shards[1:])}
        self.assertEqual(found.pop(b"fleeting"), 1)
        self.assertEqual(found, values)
        self.assertEqual(db.ok("count"), 0)
        db.ok("snapshot.close", snapshot)
        self.assertEqual(db.status("snapshot.read", snapshot, 1, None), NOTFOUND)

    def test_records_keep_version_and_expiry(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        version = db.ok("put", "stays", 1)
        db.ok("put", "expires", 2, {"ttl_ms": 3600000})
        db.ok("put", "soon", 3, {"ttl_ms": 1})
        snapshot, shards = db.ok("snapshot")
        wait_for(lambda: db.status("get", "soon") == NOTFOUND, "a key to expire")
        cursor, good, bad = read(db, snapshot, 1)
        self.assertEqual((cursor, bad), (None, {}))
        self.assertEqual(good[b"stays"], (1, version, None))
        self.assertLess(abs(good[b"expires"][2] - time.time() * 1000 - 3600000), 60000)
        self.assertEqual(set(good), {b"stays", b"expires"})

    def test_space_is_given_back_when_the_last_reader_has_gone(self):
        fleet = self.fleet(shards=1, shard_flags=["--file-size", "64K"])
        db = fleet.client()
        for n in range(300):
            db.ok("put", "key-%d" % (n % 30), "x" * 1000)
        snapshot, shards = db.ok("snapshot")
        for n in range(30):
            db.ok("put", "key-%d" % n, "new")
        db.ok("compact")

        def figure(name):
            return db.ok("stats")["shards"][0][name]

        wait_for(lambda: figure("merge_asked") == 0 and figure("held_bytes") > 0, "the merge")
        self.assertGreater(figure("snapshot_bytes"), 0)
        self.assertEqual(read_all(db, snapshot, shards),
                         {b"key-%d" % n: "x" * 1000 for n in range(30)})
        db.ok("snapshot.close", snapshot)
        wait_for(lambda: figure("held_bytes") == 0, "the space")
        wait_for(lambda: sum(name.endswith(".data") for name in os.listdir(fleet.dir + "/shard-1"))
                 == figure("files"), "the files to go")


class Limits(SystemTest):
    def test_a_snapshot_that_nobody_reads_ends(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        db.ok("put", "key", 1)
        db.ok("config", {"snapshot_idle_ms": 1000})
        snapshot, _ = db.ok("snapshot")
        self.assertEqual(db.ok("stats")["shards"][0]["snapshots"], 1)
        wait_for(lambda: db.ok("stats")["shards"][0]["snapshots"] == 0, "the snapshot to end")
        self.assertEqual(db.status("snapshot.read", snapshot, 1, None), NOTFOUND)

    def test_memory_is_bounded(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        db.ok("config", {"snapshot_memory": 100000})
        keys = [b"key-%d" % n for n in range(20000)]
        db.ok("mput", [[key, 1] for key in keys])
        snapshot, _ = db.ok("snapshot")
        cursor, _, _ = read(db, snapshot, 1)
        db.ok("mput", [[key, 2] for key in keys])
        reply = db.call("snapshot.read", snapshot, 1, cursor)
        self.assertEqual(reply[0], BUSY)
        self.assertIn("snapshot_memory", reply[1])
        self.assertEqual(db.ok("count"), 20000)

    def test_only_a_few_are_open_at_a_time(self):
        fleet = self.fleet(shards=2)
        db = fleet.client()
        open_ones = [db.ok("snapshot")[0] for _ in range(4)]
        self.assertEqual(len(set(open_ones)), 4)
        self.assertEqual(db.status("snapshot"), BUSY)
        db.ok("snapshot.close", open_ones[2])
        db.ok("snapshot")

    def test_wrong_requests_are_refused(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        self.assertEqual(db.status("snapshot.read", 99, 1, None), NOTFOUND)
        snapshot, _ = db.ok("snapshot")
        self.assertEqual(db.status("snapshot.read", snapshot, 9, None), NOTFOUND)
        self.assertEqual(db.status("snapshot.read", snapshot, 1, b"x" * 70000), BADREQUEST)
        self.assertEqual(db.status("snapshot.read", 0, 1, None), BADREQUEST)
        self.assertEqual(db.ok("snapshot.close", 12345), None)
        shard = self.closing(Client(fleet.shards[0].url))
        self.assertEqual(shard.status("x.snapshot", 5, 99), BUSY)  # of another map

    def test_many_pages_asked_for_at_once_are_all_answered(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        db.ok("mput", [[b"key-%d" % n, "x" * 500] for n in range(3000)])
        snapshot, _ = db.ok("snapshot")
        asked = [db.send("snapshot.read", snapshot, 1, None) for _ in range(300)]
        for request in asked:
            reply = db.wait(request)
            self.assertEqual((reply[0], len(reply[3])), (OK, 1000))


class Failures(Damage):
    def test_damaged_records_are_listed_and_the_rest_is_exported(self):
        fleet = self.fleet(shards=2)
        db = fleet.client()
        values = {b"key-%03d" % n: "value %03d of key" % n for n in range(200)}
        db.ok("mput", [[key, value] for key, value in values.items()])
        bad = {b"key-007", b"key-100", b"key-199"}
        for key in bad:
            self.spoil(fleet, values[key].encode())
        report = os.path.join(fleet.dir, "report.jsonl")
        ran = shardcask(fleet.url, "export", fleet.dir + "/all.jsonl", "--report", report)
        self.assertEqual(ran.code, ERROR, ran)
        self.assertEqual(json.loads(ran.out)["left_out"], 3)
        with open(report, encoding="utf-8") as lines:
            listed = [json.loads(line) for line in lines]
        self.assertEqual({line["key"].encode() for line in listed}, bad)
        self.assertEqual({line["status"] for line in listed}, {CORRUPT})
        with open(fleet.dir + "/all.jsonl", encoding="utf-8") as lines:
            found = {record["key"].encode(): record["value"] for record in map(json.loads, lines)}
        self.assertEqual(found, {key: value for key, value in values.items() if key not in bad})
        ran = shardcask(fleet.url, "export", "-", cwd=fleet.dir)
        self.assertEqual((ran.code, len(ran.out.splitlines())), (ERROR, 197), ran)
        self.assertTrue(os.path.exists(fleet.dir + "/shardcask.export-report.jsonl"))

    def test_a_shard_that_is_down_ends_an_export(self):
        fleet = self.fleet(shards=2)
        fleet.shards[1].kill()
        fleet.wait_down(2)
        db = fleet.client()
        self.assertEqual(db.status("snapshot"), UNAVAILABLE)
        path = os.path.join(fleet.dir, "kept.jsonl")
        with open(path, "w", encoding="utf-8") as kept:
            kept.write("old\n")
        ran = shardcask(fleet.url, "export", path)
        self.assertEqual(ran.code, ERROR, ran)
        self.assertIn("shard 2", ran.err)
        with open(path, encoding="utf-8") as kept:
            self.assertEqual(kept.read(), "old\n")
        self.assertEqual(db.ok("stats")["shards"][0]["snapshots"], 0)

    def test_a_shard_that_was_restarted_has_no_snapshot_any_more(self):
        fleet = self.fleet(shards=2)
        db = fleet.client()
        db.ok("mput", [[b"key-%d" % n, n] for n in range(100)])
        snapshot, shards = db.ok("snapshot")
        fleet.shards[0].restart()
        fleet.wait_up()
        self.assertEqual(db.status("snapshot.read", snapshot, 1, None), NOTFOUND)
        self.assertTrue(read_all(db, snapshot, [s for s in shards if s[0] == 2]))


if __name__ == "__main__":
    harness.main()

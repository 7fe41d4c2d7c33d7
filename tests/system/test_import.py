"""Imports of other stores' data into a real fleet: what comes out of it is what was in the files."""

import json
import os
import shutil

import msgpack
import xxhash

import harness
from harness import SharedFleetTest, shardcask

DATA = os.path.join(harness.SOURCE, "tests", "tools", "data")
DONE, ERROR, USAGE, UNREACHABLE = 0, 3, 2, 4


def digest(data):
    return xxhash.xxh3_64_hexdigest(data)


def expected(name, db=0):
    """Key's digest -> (value's digest, expiry or 0) of what must be imported."""
    found = {}
    with open(os.path.join(DATA, name + ".expected"), encoding="utf-8") as lines:
        for line in lines:
            key, value, expire_ms, in_db = line.split()[:4]
            if value != "-" and int(in_db) == db:
                found[key] = (value, int(expire_ms))
    return found


class ImportTest(SharedFleetTest):
    def run_import(self, *args):
        ran = shardcask(self.fleet.url, "import", *args, cwd=self.fleet.dir)
        return ran, json.loads(ran.out)

    def stored(self):
        """What is in the store, in the form of expected(), without the expiries."""
        return {digest(key): digest(msgpack.packb(value, use_bin_type=True,
                                                  unicode_errors="surrogateescape"))
                for key, value in self.db.scan(values=True)}

    def check(self, name, status=DONE, options=(), db=0):
        """Imports a sample into the empty store, twice, and looks at what is there."""
        self.db.ok("clear")
        wanted = expected(name, db)
        path = os.path.join(DATA, name)
        for _ in range(2):
            ran, figures = self.run_import(path, *options)
            self.assertEqual(ran.code, status, ran)
            self.assertEqual(figures["imported"], len(wanted), ran)
            self.assertEqual(self.stored(), {key: value for key, (value, _) in wanted.items()})
        self.assertEqual(figures["left_out"], sum(figures["reasons"].values()))
        self.assertEqual(figures["left_out"] > 0, status == ERROR)
        return ran, figures


class Samples(ImportTest):
    def test_pybitcask(self):
        for name in ("proto/plain", "proto/reopened", "proto/compacted", "json/reopened",
                     "json/compacted", "mixed/switched"):
            with self.subTest(name):
                _, figures = self.check("pybitcask-" + name)
                self.assertNotIn("report", figures)

    def test_directly_to_the_shards(self):
        self.check("pybitcask-proto/plain", options=["--direct"])

    def test_pybitcask_with_what_cannot_be_held(self):
        for name in ("proto", "json"):
            with self.subTest(name):
                _, figures = self.check("pybitcask-%s/odd" % name, ERROR)
                self.assertEqual(figures["report"], "odd.import-report.jsonl")
                with open(os.path.join(self.fleet.dir, figures["report"]),
                          encoding="utf-8") as lines:
                    report = [json.loads(line) for line in lines]
                self.assertEqual(len(report), figures["left_out"])
                kinds = {}
                for line in report:
                    kinds[line["kind"]] = kinds.get(line["kind"], 0) + 1
                    self.assertEqual(line["file"], "data_1.db")
                    self.assertTrue(line["error"] and line["offset"] > 0)
                self.assertEqual(kinds, figures["reasons"])
                self.assertEqual(kinds["integer beyond 64 bits"], 2)

    def test_basho(self):
        for name in ("merged", "partial-merge", "nohint", "unclean", "old-tombstones"):
            with self.subTest(name):
                self.check("basho-bitcask/" + name)

    def test_basho_with_files_of_a_finished_merge(self):
        # A copy, so that the modes do not depend on how the sources were unpacked.
        path = os.path.join(self.fleet.dir, "pending")
        shutil.copytree(os.path.join(DATA, "basho-bitcask/pending-delete"), path)
        for number in range(1, 6):
            os.chmod("%s/%d.bitcask.data" % (path, number), 0o645)
        ran, figures = self.run_import(path)
        self.assertEqual(ran.code, DONE, ran)
        self.assertEqual(figures["notes"], {"file of a finished merge, not read": 5})
        self.assertEqual(self.stored(),
                         {k: v for k, (v, _) in expected("basho-bitcask/pending-delete").items()})

    def test_damaged_directories(self):
        for name in ("pybitcask-proto/torn", "pybitcask-json/torn", "basho-bitcask/torn",
                     "basho-bitcask/damaged", "basho-bitcask/damaged-nohint"):
            with self.subTest(name):
                self.check(name, ERROR)

    def test_redis(self):
        _, figures = self.check("redis.rdb", ERROR)
        self.assertEqual(figures["reasons"]["Redis stream"], 4)
        self.assertEqual(figures["notes"], {"expired key": 83})
        self.check("redis-lru.rdb", ERROR)

    def test_redis_databases(self):
        for db in range(3):
            self.check("redis-multidb.rdb", ERROR, ("--db", str(db)), db)
        self.db.ok("clear")
        ran, figures = self.run_import(os.path.join(DATA, "redis-multidb.rdb"))
        self.assertEqual(ran.code, ERROR, ran)
        self.assertIn("--db", ran.err)
        self.assertEqual(figures["imported"], 0)
        self.assertEqual(self.db.ok("count"), 0)

    def test_damaged_redis_files_are_refused_or_salvaged(self):
        for name in ("redis-torn.rdb", "redis-badsum.rdb"):
            with self.subTest(name):
                self.db.ok("clear")
                ran, _ = self.run_import(os.path.join(DATA, name))
                self.assertEqual(ran.code, ERROR, ran)
                self.assertIn("--salvage", ran.err)
                self.assertEqual(self.db.ok("count"), 0)
                self.check(name, ERROR, ("--salvage",))


class Details(ImportTest):
    def test_expiries_go_on(self):
        self.db.ok("clear")
        self.run_import(os.path.join(DATA, "redis-lru.rdb"))
        wanted = expected("redis-lru.rdb")
        now_ms = None
        for key in self.db.scan():
            _, expire_ms = wanted[digest(key)]
            ttl_ms = self.db.ok("meta", key)["ttl_ms"]
            self.assertEqual(ttl_ms is None, expire_ms == 0)
            if ttl_ms is not None:
                # All tell the same present, to some seconds.
                now_ms = now_ms or expire_ms - ttl_ms
                self.assertLess(abs(expire_ms - ttl_ms - now_ms), 60_000)
        self.assertIsNotNone(now_ms)

    def test_an_import_survives_an_export(self):
        self.db.ok("clear")
        self.run_import(os.path.join(DATA, "pybitcask-proto/plain"))
        before = self.stored()
        path = os.path.join(self.fleet.dir, "all.jsonl")
        self.assertEqual(shardcask(self.fleet.url, "export", path).code, DONE)
        self.db.ok("clear")
        ran, _ = self.run_import(path)
        self.assertEqual(ran.code, DONE, ran)
        self.assertEqual(self.stored(), before)

    def test_sources_are_not_touched(self):
        path = os.path.join(self.fleet.dir, "untouched")
        shutil.copytree(os.path.join(DATA, "basho-bitcask/torn"), path)

        def state():
            return {entry.name: (entry.stat().st_mtime_ns, entry.stat().st_size)
                    for entry in os.scandir(path)}

        before, changed = state(), os.stat(path).st_mtime_ns
        self.run_import(path)
        self.assertEqual((state(), os.stat(path).st_mtime_ns), (before, changed))

    def test_wrong_sources_are_usage_errors(self):
        for args in ((DATA,), ("/nonexistent",), (DATA, "--format", "basho"),
                     (os.path.join(DATA, "redis.rdb"), "--db", "x"),
                     (os.path.join(DATA, "basho-bitcask/torn"), "--db", "0"),
                     (os.path.join(DATA, "basho-bitcask/torn"), "--salvage"),
                     (os.path.join(DATA, "README.md"), "--format", "rdb"),
                     (os.path.join(DATA, "redis.rdb"), "--report", "/nonexistent/report")):
            with self.subTest(args):
                ran = shardcask(self.fleet.url, "import", *args, cwd=self.fleet.dir)
                self.assertEqual(ran.code, USAGE, ran)
                self.assertEqual(ran.err.count("\n"), 1, ran)


if __name__ == "__main__":
    harness.main()

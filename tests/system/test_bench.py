"""The load generator against a real fleet: every mode and workload does what it says."""

import json
import os

import harness
from harness import SharedFleetTest, SystemTest, program, run

SMALL = ["--keys", "200", "--requests", "300"]


def bench(url, *args):
    return run([program("shardcask-bench"), "--url", url] + list(args))


class Bench(SharedFleetTest):
    fleet_options = {"sync": "never"}

    def lines(self, *args, url=None):
        ran = bench(url or self.fleet.url, "--json", *SMALL, *args)
        self.assertEqual(ran.code, 0, ran)
        return [json.loads(line) for line in ran.out.splitlines()]

    def check(self, line, operations):
        self.assertEqual(line["errors"], 0)
        self.assertEqual(line["missing"], 0)
        self.assertEqual(line["operations"], operations)
        latency = line["latency_us"]
        self.assertLessEqual(latency["p50"], latency["p99"])
        self.assertLessEqual(latency["p99"], latency["max"])

    def test_every_workload_on_connections(self):
        names = ["put", "get", "mixed", "mput", "mget", "incr"]
        for url in (self.fleet.url, self.fleet.ipc):
            lines = self.lines("-c", "7", "--drivers", "2", *names, url=url)
            self.assertEqual([line["workload"] for line in lines], names)
            for line in lines:
                self.check(line, 3000 if line["workload"] in ("mput", "mget") else 300)
        # 200 keys were loaded, and at most 200 counters have been made.
        self.assertEqual(len(self.db.scan(prefix=b"k")), 200)
        counters = self.db.scan(prefix=b"n", values=True)
        self.assertEqual(sum(value for _, value in counters), 600)

    def test_every_workload_on_a_shared_handle(self):
        for mode in (["--threads", "5"], ["--async", "20"]):
            lines = self.lines(*mode, "put", "get", "mixed", "mput", "mget", "incr")
            for line in lines:
                self.check(line, 3000 if line["workload"] in ("mput", "mget") else 300)
        self.assertEqual(sum(value for _, value in self.db.scan(prefix=b"n", values=True)), 600)

    def test_every_workload_directly_to_the_shards(self):
        names = ["put", "get", "mixed", "mput", "mget", "incr"]
        for mode in (["-c", "7"], ["-t", "3"], ["-t", "3", "--own-handles"], ["-a", "20"]):
            for line in self.lines("--direct", *mode, *names):
                self.assertTrue(line["direct"])
                self.check(line, 3000 if line["workload"] in ("mput", "mget") else 300)
        self.assertEqual(sum(v for _, v in self.db.scan(prefix=b"n", values=True)), 1200)
        self.assertEqual(len(self.db.scan(prefix=b"k")), 200)

    def test_batches_and_sizes(self):
        for mode in ("-c", "-t", "-a"):
            for line in self.lines(mode, "3", "--batch", "16", "--value-size", "3000", "--key-size",
                                   "100", "mixed", "--ratio", "3:1", "--sync"):
                self.check(line, 4800)
        key, value = self.db.scan(prefix=b"k", values=True)[0]
        self.assertEqual((len(key), len(value)), (100, 3000))

    def test_a_large_value(self):
        for line in self.lines("-c", "2", "--value-size", "1M", "--requests", "20", "--keys", "5",
                               "put", "get"):
            self.check(line, 20)

    def test_without_loading_keys_are_missing(self):
        line = self.lines("--no-load", "get")[0]
        self.assertEqual(line["missing"], 300)
        self.assertEqual(line["errors"], 0)

    def test_the_table(self):
        ran = bench(self.fleet.url, *SMALL, "put")
        self.assertEqual(ran.code, 0, ran)
        self.assertIn("p99.9", ran.out)
        self.assertRegex(ran.out, r"\nput +300 ")

    def test_for_a_time(self):
        ran = bench(self.fleet.url, "--json", "--seconds", "1", "--warm-up", "50", "put")
        line = json.loads(ran.out)
        self.assertGreater(line["operations"], 0)
        self.assertGreaterEqual(line["seconds"], 0.99)

    def test_errors_of_the_store_are_counted(self):
        self.db.ok("put", "k000000000000000", "not what the load generator puts")
        ran = bench(self.fleet.url, "--keys", "1", "--requests", "10", "--no-load", "get")
        self.assertEqual(ran.code, 3, ran)
        self.assertIn("10 errors", ran.err)

    def test_usage(self):
        for args in (["nothing"], ["--keys"], ["--keys", "x"], ["--ratio", "1"], ["-c", "0"],
                     ["--keys", "1000", "--key-size", "3"], ["--url", "nonsense"]):
            ran = bench(self.fleet.url, *args)
            self.assertEqual(ran.code, 2, (args, ran))
            self.assertTrue(ran.err)
        for flag in ("--help", "--version"):
            ran = bench(self.fleet.url, flag)
            self.assertEqual(ran.code, 0, ran)
            self.assertIn("shardcask-bench", ran.out.lower())


class BenchAlone(SystemTest):
    def test_nobody_there(self):
        ran = bench("ipc:///tmp/sc-nobody-listens-here", "put")
        self.assertEqual(ran.code, 4, ran)
        self.assertIn("sc-nobody-listens-here", ran.err)

    def test_the_address_from_the_environment(self):
        fleet = self.fleet(shards=1, sync="never")
        ran = run([program("shardcask-bench"), "--requests", "5", "put"],
                  env={"SHARDCASK_URL": fleet.url})
        self.assertEqual(ran.code, 0, ran)

    def test_a_shard_that_is_down(self):
        fleet = self.fleet(sync="never")
        fleet.shards[0].kill()
        fleet.wait_down(1)
        ran = bench(fleet.url, "--json", "--no-load", "--requests", "100", "put")
        self.assertEqual(ran.code, 3, ran)
        line = json.loads(ran.out)
        self.assertGreater(line["errors"], 0)
        self.assertEqual(line["errors"] + line["operations"], 100)


class EngineBench(SystemTest):
    """The benchmark of the storage engine, with as few keys as it takes to run through."""

    def setUp(self):
        super().setUp()
        self.stores = self.make_dir()

    def engine_bench(self, *args):
        return run([program("shardcask-engine-bench"), "--engines", "shardcask", "--rounds", "1",
                    "--keys", "1000,2000", "--dir", self.stores, *args])

    def test_json_has_every_figure(self):
        ran = self.engine_bench("--json", "--operations", "500")
        self.assertEqual(ran.code, 0, ran)
        lines = [json.loads(line) for line in ran.out.splitlines()]
        self.assertEqual([line["keys"] for line in lines], [1000, 2000])
        for line in lines:
            figures = line["engines"]["shardcask"]
            for name in ("put_new_per_s", "get_per_s", "delete_per_s", "put_synced_64_per_s",
                         "open_keys_per_s", "index_bytes_beside_key", "put_new_max_us"):
                self.assertGreater(figures[name], 0, name)
            self.assertLessEqual(figures["put_new_p50_us"], figures["put_new_max_us"])
        self.assertEqual(os.listdir(self.stores), [], "it removes what it made")

    def test_usage(self):
        for args in (["--engines", "nonsense"], ["--rounds", "0"], ["--keys", "1,x"], ["more"]):
            ran = self.engine_bench(*args)
            self.assertEqual(ran.code, 2, (args, ran))
            self.assertTrue(ran.err)


if __name__ == "__main__":
    harness.main()

"""Each command of the command line: what it prints and its exit status, on a pipe."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import harness
from harness import SharedFleetTest, SystemTest, shardcask, wait_for

DONE, ABSENT, USAGE, ERROR, UNREACHABLE = range(5)


class CliTest(SharedFleetTest):
    def cli(self, *args, **options):
        return shardcask(self.fleet.url, *args, **options)

    def done(self, *args, **options):
        """The output of a command that must succeed, and say nothing on standard error."""
        ran = self.cli(*args, **options)
        self.assertEqual((ran.code, ran.err), (DONE, ""), (args, ran))
        return ran.out

    def fails(self, code, *args, **options):
        """The sentence of a command that must fail: one line on standard error."""
        ran = self.cli(*args, **options)
        self.assertEqual(ran.code, code, (args, ran))
        self.assertTrue(ran.err.startswith("shardcask: ") and ran.err.count("\n") == 1, ran)
        return ran.err

    def lines(self, text):
        return [json.loads(line) for line in text.splitlines()]


class Data(CliTest):
    def test_put_prints_the_version_and_get_the_value(self):
        for given, stored, printed in (
                ("5", 5, "5"), ('"5"', "5", '"5"'), ("hello", "hello", '"hello"'),
                ("null", None, "null"), ("[1, 2.5]", [1, 2.5], "[1,2.5]"),
                ('{"a": {"b": []}}', {"a": {"b": []}}, '{"a":{"b":[]}}'), ("", "", '""'),
                ("{broken", "{broken", '"{broken"'), ("-7", -7, "-7"), ("1.0", 1.0, "1.0"),
                ('{"$bin":"AAH/"}', b"\x00\x01\xff", '{"$bin":"AAH/"}'),
                ("ä", "ä", '"ä"'), ("18446744073709551615", 2 ** 64 - 1, "18446744073709551615")):
            version = int(self.done("put", "k", given))
            self.assertEqual(self.db.ok("meta", "k")["version"], version)
            self.assertEqual(self.db.ok("get", "k"), stored, given)
            self.assertEqual(self.done("get", "k"), printed + "\n")

    def test_raw_is_bytes_in_and_out(self):
        self.done("--raw", "put", "k", "[1]")
        self.assertEqual(self.db.ok("get", "k"), b"[1]")
        self.assertEqual(self.done("get", "k", "--raw"), "[1]")
        self.assertEqual(self.done("get", "k"), '{"$bin":"WzFd"}\n')
        self.db.ok("put", "k", "text")
        self.assertEqual(self.done("get", "--raw", "k"), "text")
        self.db.ok("put", "k", {"a": 1})
        self.assertEqual(self.done("get", "--raw", "k"), '{"a":1}\n')

    def test_values_from_files_and_standard_input(self):
        data = bytes(range(256)) * 1000
        self.done("put", "k", "-", "--raw", stdin=data)
        self.assertEqual(self.db.ok("get", "k"), data)
        self.done("put", "k", "-", stdin=b'{"from": "stdin"}\n')
        self.assertEqual(self.db.ok("get", "k"), {"from": "stdin"})
        path = os.path.join(self.fleet.dir, "value")
        with open(path, "wb") as out:
            out.write(data)
        self.done("put", "k", "--file", path, "--raw")
        self.assertEqual(self.db.ok("get", "k"), data)
        with open(path, "rb") as expected:
            raw = subprocess.run([harness.program("shardcask"), "--url", self.fleet.url, "get", "k",
                                  "--raw"], stdout=subprocess.PIPE, check=True)
            self.assertEqual(raw.stdout, expected.read())
        self.fails(USAGE, "put", "k", "v", "--file", path)
        self.fails(USAGE, "put", "k", "--file", path + ".absent")

    def test_keys_are_bytes(self):
        self.done("put", '{"$bin":"AP8="}', "1")
        self.assertEqual(self.db.ok("get", b"\x00\xff"), 1)
        self.assertEqual(self.done("get", '{"$bin":"AP8="}'), "1\n")
        self.done("put", b"\xff\xfe", "2")
        self.assertEqual(self.db.ok("get", b"\xff\xfe"), 2)
        self.done("put", '"quoted"', "3")
        self.assertEqual(self.db.ok("get", b'"quoted"'), 3)
        self.assertEqual(sorted(self.done("scan").splitlines()),
                         sorted(['{"$bin":"AP8="}', '{"$bin":"//4="}', '"\\"quoted\\""']))
        self.assertIn("at least one byte", self.fails(USAGE, "get", ""))
        self.fails(USAGE, "get", "x" * 65536)
        self.fails(USAGE, "get", '{"$bin":"?"}')

    def test_an_absent_key_is_1(self):
        self.assertIn('"nope"', self.fails(ABSENT, "get", "nope"))
        self.fails(ABSENT, "meta", "nope")
        self.fails(ABSENT, "touch", "nope", "5")
        ran = self.cli("exists", "nope")
        self.assertEqual((ran.code, ran.out, ran.err), (ABSENT, "false\n", ""))
        self.assertEqual(self.done("del", "nope"), "0\n")

    def test_exists_del_and_meta(self):
        for n in range(5):
            self.db.ok("put", "k%d" % n, n)
        self.assertEqual(self.done("exists", "k0"), "true\n")
        self.assertEqual(self.done("del", "k0", "k1", "nope", "k1"), "2\n")
        meta = json.loads(self.done("meta", "k2"))
        self.assertEqual(meta, self.db.ok("meta", "k2"))
        self.assertEqual(self.done("del", "k2", "--if-version", str(meta["version"])), "1\n")
        self.fails(ERROR, "del", "k3", "--if-version", "5")

    def test_ttl(self):
        self.done("put", "k", "1", "--ttl", "100")
        self.assertTrue(99_000 < self.db.ok("meta", "k")["ttl_ms"] <= 100_000)
        self.done("touch", "k", "2.5")
        self.assertTrue(0 < self.db.ok("meta", "k")["ttl_ms"] <= 2500)
        self.done("touch", "k", "--none")
        self.assertIsNone(self.db.ok("meta", "k")["ttl_ms"])
        self.done("put", "short", "1", "--ttl", "0.05")
        wait_for(lambda: self.cli("get", "short").code == ABSENT, "the key to expire")

    def test_if_version(self):
        version = self.done("put", "k", "1", "--if-version", "0").strip()
        self.assertIn("status 4", self.fails(ERROR, "put", "k", "2", "--if-version", "0"))
        self.done("put", "k", "2", "--if-version", version)
        self.assertEqual(self.db.ok("get", "k"), 2)

    def test_incr(self):
        self.assertEqual(self.done("incr", "n"), "1\n")
        self.assertEqual(self.done("incr", "n", "41"), "42\n")
        self.assertEqual(self.done("incr", "n", "-50"), "-8\n")
        self.db.ok("put", "n", "text")
        self.assertIn("status 5", self.fails(ERROR, "incr", "n"))
        self.fails(USAGE, "incr", "n", "many")

    def test_mget(self):
        self.db.ok("put", "a", 1)
        self.db.ok("put", b"\xff", b"x")
        self.assertEqual(self.done("mget", "a", '{"$bin":"/w=="}'),
                         '{"key":"a","value":1}\n{"key":{"$bin":"/w=="},"value":{"$bin":"eA=="}}\n')
        ran = self.cli("mget", "a", "nope")
        self.assertEqual((ran.code, ran.out, ran.err),
                         (ABSENT, '{"key":"a","value":1}\n{"key":"nope","missing":true}\n', ""))

    def test_what_json_cannot_say(self):
        for value, printed in ((float("nan"), '{"$float":"nan"}'), (float("-inf"), '{"$float":"-inf"}'),
                               ({1: 2}, '{"$map":[[1,2]]}')):
            self.db.ok("put", "k", value)
            self.assertEqual(self.done("get", "k"), printed + "\n")
            self.done("put", "copy", printed)
            self.assertEqual(self.done("get", "copy"), printed + "\n")
        self.db.call_body(b"\x93\xa3put\xa1k\xd6\x05abcd")
        self.assertEqual(self.done("get", "k"), '{"$ext":[5,"YWJjZA=="]}\n')
        self.db.call_body(b"\x93\xa3put\xa1k\xa1\xff")
        self.assertEqual(self.done("get", "k"), '{"$str":"/w=="}\n')


class Store(CliTest):
    def test_ping_names_the_store(self):
        self.assertEqual(json.loads(self.done("ping"))["role"], "coordinator")

    def test_scan(self):
        keys = ["k%03d" % n for n in range(250)]
        self.db.ok("mput", [[k, n] for n, k in enumerate(keys)])
        self.assertEqual(sorted(self.lines(self.done("scan"))), keys)
        self.assertEqual(sorted(self.done("scan", "--raw").split()), keys)
        self.assertEqual(len(self.done("scan", "--limit", "7").splitlines()), 7)
        self.assertEqual(sorted(self.lines(self.done("scan", "--prefix", "k24"))), keys[240:])
        self.assertEqual(self.done("scan", "--prefix", "none"), "")
        found = {line["key"]: line["value"] for line in self.lines(self.done("scan", "--values"))}
        self.assertEqual(found, {k: n for n, k in enumerate(keys)})
        self.assertEqual(len(self.done("scan", "--values", "--limit=3").splitlines()), 3)

    def test_count_and_clear(self):
        self.db.ok("mput", [["k%d" % n, n] for n in range(30)])
        self.assertEqual(self.done("count"), "30\n")
        self.assertIn("--yes", self.fails(USAGE, "clear"))
        self.assertEqual(self.done("count"), "30\n")
        self.assertEqual(self.done("clear", "--yes"), "30\n")
        self.assertEqual(self.done("count"), "0\n")

    def test_map_shards_and_stats(self):
        self.db.ok("mput", [["k%d" % n, n] for n in range(100)])
        self.assertEqual(json.loads(self.done("map")), self.db.ok("map"))
        shards = json.loads(self.done("shards"))
        self.assertEqual([s["id"] for s in shards], [1, 2])
        self.assertEqual([s["state"] for s in shards], ["up", "up"])
        self.assertEqual([s["url"] for s in shards], [s.url for s in self.fleet.shards])
        self.assertEqual(sum(s["slots"] for s in shards), 16384)
        self.assertEqual(sum(s["keys"] for s in shards), 100)
        stats = json.loads(self.done("stats"))
        self.assertEqual(len(stats["shards"]), 2)

    def test_sync_and_compact(self):
        self.assertEqual(self.done("sync"), '"ok"\n')
        self.assertEqual(self.done("compact"), '"ok"\n')

    def test_shard_errors_are_passed_on(self):
        self.assertIn("status", self.fails(ERROR, "shard", "add", "nonsense"))
        self.assertIn("status", self.fails(ERROR, "shard", "remove", "99"))
        self.fails(USAGE, "shard", "remove", "x")
        self.fails(USAGE, "shard", "what", "x")


class Bulk(CliTest):
    def path(self, name):
        return os.path.join(self.fleet.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as out:
            out.write(text)
        return self.path(name)

    def test_export_and_import_keep_everything(self):
        values = {b"int": 5, b"\x00\xff": b"\x01\x02", "ä".encode(): {"deep": [None, True, 1.5]},
                  b"big": "x" * 100000, b"map": {1: [2]}}
        for key, value in values.items():
            self.db.ok("put", key, value)
        self.db.ok("put", "expires", 1, {"ttl_ms": 1_000_000})
        for n in range(3000):
            self.db.ok("put", "many-%d" % n, n)
        out = json.loads(self.done("export", self.path("all.jsonl")))
        self.assertEqual(out["exported"], 3006)
        first = self.db.scan(values=True)
        self.db.ok("clear")
        out = json.loads(self.done("import", self.path("all.jsonl")))
        self.assertEqual((out["imported"], out["left_out"]), (3006, 0))
        self.assertEqual(sorted(map(repr, self.db.scan(values=True))), sorted(map(repr, first)))
        self.assertTrue(900_000 < self.db.ok("meta", "expires")["ttl_ms"] <= 1_000_000)
        self.assertIsNone(self.db.ok("meta", "int")["ttl_ms"])
        self.assertEqual([n for n in os.listdir(self.fleet.dir) if n.startswith("all.jsonl.")], [])

    def test_a_time_of_expiry_survives_exports_and_imports(self):
        for seconds in range(1, 50):
            self.db.ok("put", "expires-%d" % seconds, seconds, {"ttl_ms": 1_000_000 * seconds})
        self.db.ok("put", "stays", 0)
        first = sorted(self.done("export", "-", "--absolute").splitlines())
        self.assertEqual(sum("expires_ms" in json.loads(line) for line in first), 49)
        path = self.write("all.jsonl", "\n".join(first) + '\n{"key":"past","value":1,"expires_ms":1}\n')
        for _ in range(2):
            self.db.ok("clear")
            out = json.loads(self.done("import", path))
            self.assertEqual((out["imported"], out["left_out"]), (50, 0))
            self.assertEqual(sorted(self.done("export", "-", "--absolute").splitlines()), first)

    def test_pipes(self):
        self.done("import", "-", stdin=b'{"key":"a","value":1}\n{"key":"b","value":[2]}\n')
        self.assertEqual(sorted(self.done("export", "-").splitlines()),
                         ['{"key":"a","value":1}', '{"key":"b","value":[2]}'])

    def test_bad_lines_are_left_out_and_reported(self):
        path = self.write("bad.jsonl", '{"key":"a","value":1}\nnonsense\n{"key":"","value":1}\n'
                          '{"key":"b","value":2}\n{"key":"c"}\n{"key":"k","value":1,"ttl_ms":0}\n')
        report = self.path("report.jsonl")
        ran = self.cli("import", path, "--report", report)
        self.assertEqual(ran.code, ERROR)
        out = json.loads(ran.out)
        self.assertEqual((out["imported"], out["left_out"]), (2, 4))
        self.assertIn("line 2", ran.err)
        with open(report, encoding="utf-8") as lines:
            self.assertEqual([json.loads(line)["line"] for line in lines], [2, 3, 5, 6])
        self.assertEqual(sorted(self.db.scan()), [b"a", b"b"])

    def test_the_last_of_several_stays(self):
        text = "".join('{"key":"k%d","value":%d}\n' % (n % 10, n) for n in range(20000))
        self.done("import", self.write("same.jsonl", text))
        self.assertEqual([self.db.ok("get", "k%d" % n) for n in range(10)],
                         list(range(19990, 20000)))

    def test_values_over_the_limit_are_left_out(self):
        path = self.write("large.jsonl", '{"key":"large","value":"%s"}\n{"key":"small","value":1}\n'
                          % ("x" * (17 << 20)))
        ran = self.cli("import", path, cwd=self.fleet.dir)
        self.assertEqual(ran.code, ERROR, ran)
        self.assertEqual(self.db.scan(), [b"small"])
        with open(self.path("large.jsonl.import-report.jsonl"), encoding="utf-8") as lines:
            (line,) = map(json.loads, lines)
        self.assertEqual((line["key"], line["line"], line["kind"], line["status"]),
                         ("large", 1, "value over the limit", 3))

    def test_an_export_that_fails_leaves_the_old_file(self):
        path = self.write("kept.jsonl", "old\n")
        ran = shardcask("ipc:///nonexistent/x.sock", "--timeout", "0.2", "export", path)
        self.assertEqual(ran.code, UNREACHABLE)
        with open(path, encoding="utf-8") as kept:
            self.assertEqual(kept.read(), "old\n")
        self.fails(USAGE, "export", "/nonexistent/folder/file")

    def test_an_export_that_is_stopped_leaves_nothing(self):
        filled = harness.run([harness.program("shardcask-bench"), "--url", self.fleet.url, "--keys",
                              "50000", "--value-size", "500", "--requests", "1", "get"])
        self.assertEqual(filled.code, 0, filled)
        folder = tempfile.mkdtemp(prefix="sc-")
        self.addCleanup(shutil.rmtree, folder)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen([harness.program("shardcask"), "--url", self.fleet.url, "export",
                                   folder + "/all.jsonl"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) as process:
                harness.wait_for(lambda: os.listdir(folder), "the export to begin")
                process.send_signal(number)
                said = process.stderr.read()
                code = process.wait()
            if code == 0:  # it was faster
                os.remove(folder + "/all.jsonl")
            else:
                self.assertEqual((code, said), (ERROR, b"shardcask: export: interrupted\n"))
            self.assertEqual(os.listdir(folder), [], number)

    def test_an_output_that_cannot_be_written_is_an_error(self):
        self.db.ok("put", "k", 1)
        with open("/dev/full", "w") as full:
            done = subprocess.run([harness.program("shardcask"), "--url", self.fleet.url, "get", "k"],
                                  stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, ERROR)
        self.assertIn(b"could not be written", done.stderr)
        self.assertIn("/dev/full could not be written: No space left on device",
                      self.fails(ERROR, "export", "/dev/full"))


class Wrong(SystemTest):
    def test_usage_is_2(self):
        for args in ([], ["nonsense"], ["get"], ["get", "a", "b"], ["put", "k", "v", "--ttl", "x"],
                     ["--nonsense", "count"], ["count", "--nonsense"], ["put", "k"], ["--url"],
                     ["import"], ["shard"], ["count", "--url", "nonsense"]):
            ran = harness.run([harness.program("shardcask")] + args)
            self.assertEqual(ran.code, USAGE, (args, ran))
            self.assertEqual(ran.err.count("\n"), 1, (args, ran))
            self.assertEqual(ran.out, "")

    def test_help_and_version(self):
        for args in (["--help"], ["help"], ["get", "--help"], ["help", "put"]):
            ran = harness.run([harness.program("shardcask")] + args)
            self.assertEqual((ran.code, ran.err), (DONE, ""))
            self.assertTrue(ran.out)
        ran = harness.run([harness.program("shardcask"), "--version"])
        self.assertEqual(ran.code, DONE)
        self.assertRegex(ran.out, r"^shardcask \d+\.\d+\.\d+\n$")

    def test_a_store_that_is_not_there_is_4(self):
        port = harness.free_port()
        ran = shardcask("tcp://127.0.0.1:%d" % port, "--timeout", "1", "get", "k")
        self.assertEqual(ran.code, UNREACHABLE)
        self.assertEqual(ran.err.count("\n"), 1)
        self.assertIn(str(port), ran.err)
        ran = harness.run([harness.program("shardcask"), "count", "--timeout", "1"],
                          env={"SHARDCASK_URL": "ipc:///nonexistent/x.sock"})
        self.assertEqual(ran.code, UNREACHABLE)
        self.assertIn("/nonexistent/x.sock", ran.err)

    def test_a_shard_that_is_down_is_3_for_its_keys_only(self):
        fleet = self.fleet()
        mine, other = fleet.keys_of(1, 1)[0], fleet.keys_of(2, 1)[0]
        for key in (mine, other):
            fleet.client().ok("put", key, 1)
        fleet.shards[0].kill()
        fleet.wait_down(1)
        ran = shardcask(fleet.url, "get", mine)
        self.assertEqual((ran.code, ran.out), (ERROR, ""))
        self.assertIn("status 7", ran.err)
        self.assertEqual(shardcask(fleet.url, "get", other).code, DONE)
        ran = shardcask(fleet.url, "mget", mine, other, "absent")
        self.assertEqual(ran.code, ERROR)
        lines = [json.loads(line) for line in ran.out.splitlines()]
        self.assertEqual(lines[0]["status"], 7)
        self.assertTrue(lines[0]["error"])
        self.assertEqual(lines[1], {"key": other.decode(), "value": 1})
        self.assertEqual(shardcask(fleet.url, "count").code, ERROR)
        states = [s["state"] for s in json.loads(shardcask(fleet.url, "shards").out)]
        self.assertEqual(states, ["down", "up"])
        fleet.shards[0].start()
        fleet.wait_up()
        self.assertEqual(shardcask(fleet.url, "get", mine).out, "1\n")

    def test_no_answer_in_time_is_4(self):
        fleet = self.fleet(shards=1)
        fleet.coordinator.freeze()
        ran = shardcask(fleet.url, "--timeout", "0.5", "count")
        fleet.coordinator.thaw()
        self.assertEqual(ran.code, UNREACHABLE)
        self.assertEqual(ran.err.count("\n"), 1)


if __name__ == "__main__":
    harness.main()

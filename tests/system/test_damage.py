"""Bytes on the disks of a running fleet change. What is damaged is told, everywhere and always; nothing
else is."""

import contextlib
import glob
import json

import os
import pty
import subprocess

import harness
from harness import (CORRUPT, NOTFOUND, UNAVAILABLE, SystemTest, pack, program, run, shardcask,
                     wait_for)


class Damage(SystemTest):
    def spoil(self, fleet, content, at=None):
        """Changes a byte in what stands once in the data files of the fleet: in its middle, or so
        many bytes from its beginning."""
        at = len(content) // 2 if at is None else at
        for path in glob.glob(fleet.dir + "/shard-*/*.data"):
            with open(path, "r+b") as data:
                found = data.read()
                place = found.find(content)
                if place >= 0:
                    self.assertEqual(found.count(content), 1)
                    data.seek(place + at)
                    data.write(bytes([found[place + at] ^ 0x20]))
                    return
        self.fail("%r is in no data file" % content)


class Scans(Damage):
    def setUp(self):
        super().setUp()
        self.one = self.fleet(shards=2)
        self.db = self.one.client()
        self.keys = {b"key-%03d" % i: "value %03d of key" % i for i in range(400)}
        self.db.ok("mput", [[key, value] for key, value in self.keys.items()])
        self.bad = {key for i, key in enumerate(sorted(self.keys)) if i % 29 == 7 or 200 <= i < 203}
        for key in self.bad:
            self.spoil(self.one, self.keys[key].encode())

    def scan(self, limit):
        """Every page of a scan with values: what could be read, and what could not."""
        good, bad, cursor = {}, set(), None
        while True:
            reply = self.db.call("scan", cursor, {"values": True, "limit": limit})
            if reply[0] == CORRUPT:
                self.assertIn("damaged", reply[1])
                cursor, keys = reply[2:]
                self.assertTrue(0 < len(keys) <= limit)
                bad.update(keys)
            else:
                self.assertEqual(reply[0], 0, reply)
                cursor, pairs = reply[1:]
                self.assertLessEqual(len(pairs), limit)
                good.update(pairs)
            if cursor is None:
                return good, bad

    def test_a_scan_with_values_names_every_damaged_key_and_goes_on(self):
        for limit in (1, 3, 50, 10000):
            good, bad = self.scan(limit)
            self.assertEqual(bad, self.bad)
            self.assertEqual(good, {key: value for key, value in self.keys.items()
                                    if key not in self.bad})

    def test_keys_alone_can_be_scanned(self):
        self.assertEqual(set(self.db.scan(limit=50)), set(self.keys))

    def test_the_command_line_names_them_too(self):
        ran = shardcask(self.one.url, "scan", "--values")
        lines = [json.loads(line) for line in ran.out.splitlines()]
        self.assertEqual(ran.code, 3, ran)
        self.assertIn("%d keys cannot be read" % len(self.bad), ran.err)
        self.assertEqual({line["key"].encode() for line in lines if "error" in line}, self.bad)
        self.assertTrue(all(line["status"] == CORRUPT for line in lines if "error" in line))
        self.assertEqual({line["key"].encode(): line["value"] for line in lines if "value" in line},
                         {key: value for key, value in self.keys.items() if key not in self.bad})

    def test_a_damaged_key_can_be_overwritten_and_deleted(self):
        first, second, *rest = sorted(self.bad)
        self.db.ok("put", first, "new")
        self.assertTrue(self.db.ok("del", second))
        good, bad = self.scan(100)
        self.assertEqual(bad, set(rest))
        self.assertEqual(good[first], "new")
        self.assertNotIn(second, good)


class Scrub(Damage):
    """A fleet that serves while the bytes under it change."""

    def setUp(self):
        super().setUp()
        self.one = self.fleet(shards=2, shard_flags=["--file-size", "256K"])
        self.db = self.one.client()
        self.keys = [b"key-%05d" % i for i in range(4000)]
        for first in range(0, len(self.keys), 1000):
            self.db.ok("mput", [[key, self.value(key)] for key in self.keys[first:first + 1000]])

    @staticmethod
    def value(key):
        return "value of " + key.decode() + 200 * "."

    @staticmethod
    def record(key, value):
        """What stands behind the header of a record."""
        return key + pack(value)

    def scrub(self, code):
        ran = shardcask(self.one.url, "scrub", "--wait")
        self.assertEqual(ran.code, code, ran)
        return json.loads(ran.out)

    def damage(self, code=3):
        ran = shardcask(self.one.url, "damage")
        self.assertEqual(ran.code, code, ran)
        return [json.loads(line) for line in ran.out.splitlines()]

    def test_a_clean_fleet(self):
        done = self.scrub(0)
        self.assertGreater(done["bytes"], 4000 * 200)
        self.assertEqual(done["damage"], 0)
        self.assertEqual(self.damage(0), [])
        self.assertEqual(self.db.call("scrub"), [0])

    def test_flipped_bytes_are_found_told_and_copied_aside(self):
        bad = self.keys[::400]
        for key in bad:
            self.spoil(self.one, self.value(key).encode())
        self.assertEqual(self.scrub(3)["damage"], len(bad))
        found = self.damage()
        self.assertEqual(sorted(line["key"].encode() for line in found), bad)
        for line in found:
            self.assertEqual((line["kind"], line["live"]), ("value", True))
            folder = "%s/shard-%d/" % (self.one.dir, line["shard"])
            with open(folder + line["copy"], "rb") as copy, \
                    open(folder + line["file"], "rb") as data:
                data.seek(line["offset"])
                self.assertEqual(copy.read(), data.read(line["size"]))
            with open(folder + line["copy"].replace(".bytes", ".json"), encoding="utf-8") as text:
                told = json.load(text)
            for name in ("file", "offset", "size", "kind", "key"):
                self.assertEqual(told[name], line[name])
        for key in self.keys[::100]:
            if key in bad:
                self.assertEqual(self.db.status("get", key), CORRUPT)
            else:
                self.assertEqual(self.db.ok("get", key), self.value(key))
        stats = self.db.ok("stats")
        self.assertEqual(stats["damage"], len(bad))
        self.assertTrue(all(shard["scrubs"] > 0 for shard in stats["shards"]))
        # It is known after a restart, without another scrub.
        for shard in self.one.shards:
            shard.kill()
            shard.start()
        self.one.wait_up()
        wait_for(lambda: self.db.ok("stats")["damage"] == len(bad), "the damage to be known")
        self.assertEqual(sorted(line["key"].encode() for line in self.damage()), bad)

    def test_keys_that_are_written_or_deleted_are_well_again(self):
        bad = self.keys[7:12]
        for key in bad:
            self.spoil(self.one, self.value(key).encode())
        self.scrub(3)
        self.db.ok("put", bad[0], "new")
        self.assertTrue(self.db.ok("del", bad[1]))
        live = {line["key"].encode() for line in self.damage() if line["live"]}
        self.assertEqual(live, set(bad[2:]))

    def test_what_was_lost_stays_lost_through_merges_and_kills(self):
        # The newest records of some keys are damaged, in value or header; older ones are whole.
        again = self.keys[::40]
        for key in again:
            self.db.ok("put", key, "newest " + self.value(key))
        self.db.ok("mdel", self.keys[1::40])
        bad = again[::10]
        for at, key in enumerate(bad):
            if at % 2 == 0:
                self.spoil(self.one, b"newest " + self.value(key).encode())
            else:
                self.spoil(self.one, self.record(key, "newest " + self.value(key)), -20)
        self.scrub(3)
        for turn in range(3):
            self.assertEqual({key for key in again if self.db.status("get", key) == CORRUPT},
                             set(bad), turn)
            for key in set(again) - set(bad):
                self.assertEqual(self.db.ok("get", key), "newest " + self.value(key))
            for key in self.keys[1::40]:
                self.assertEqual(self.db.status("get", key), NOTFOUND)
            for key in self.keys[2::40]:
                self.assertEqual(self.db.ok("get", key), self.value(key))
            if turn == 0:
                ran = shardcask(self.one.url, "compact", "--wait")
                self.assertEqual(ran.code, 0, ran)
                self.assertIn("lost", {line["kind"] for line in self.damage()})
            else:
                for shard in self.one.shards:
                    shard.kill()
                    shard.start()
                self.one.wait_up()
        for key in bad:
            self.db.ok("put", key, "well again")
        self.assertEqual(self.db.call("scan", None, {"values": True, "limit": 10000})[0], 0)

    def test_the_background_scrub_finds_it_without_being_asked(self):
        # With hints the values are not read when the shards start. A file that was made ahead of its
        # use, but too late, stays empty and gets none.
        def oldest(shard):
            return next(path for path in sorted(glob.glob("%s/%s/*.data"
                                                          % (self.one.dir, shard.name)))
                        if os.path.getsize(path) > 4096)
        wait_for(lambda: all(os.path.exists(oldest(shard).replace(".data", ".hint"))
                             for shard in self.one.shards), "the hints")
        for shard in self.one.shards:
            shard.terminate()
            shard.argv += ["--scrub-rate", "1G"]
            with contextlib.suppress(FileNotFoundError):  # it may not have begun yet
                os.remove("%s/%s/SCRUB" % (self.one.dir, shard.name))
        self.spoil(self.one, self.value(self.keys[9]).encode())
        for shard in self.one.shards:
            shard.start()
        self.one.wait_up()
        wait_for(lambda: self.db.ok("stats")["damage"] == 1, "the damage to be found")
        self.assertIn(b"are damaged (value)", b"".join(s.text() for s in self.one.shards))

    def test_the_rate_can_be_changed(self):
        self.db.ok("config", {"scrub_bytes_per_second": 0})
        wait_for(lambda: all(shard["scrub_state"] == "off" for shard in
                             self.db.ok("stats")["shards"]), "scrubs to be off")
        self.scrub(0)

    def test_a_file_that_is_cut_or_gone_under_a_daemon(self):
        files = [path for path in sorted(glob.glob(self.one.dir + "/shard-1/*.data"))
                 if os.path.getsize(path) > 64]  # one that was made ahead may have stayed empty
        os.truncate(files[0], 1000)
        os.remove(files[1])
        self.scrub(3)
        kinds = {(line["kind"], line["file"]) for line in self.damage()}
        self.assertIn(("end", os.path.basename(files[0])), kinds)
        self.assertIn(("file", os.path.basename(files[1])), kinds)
        statuses = {self.db.status("get", key) for key in self.keys}
        self.assertEqual(statuses, {0, CORRUPT})

    def test_a_shard_that_is_down_is_named(self):
        self.one.shards[1].kill()
        self.one.wait_down(2)
        ran = shardcask(self.one.url, "damage")
        self.assertEqual(ran.code, 3)
        self.assertIn("shard 2", ran.err)
        self.assertEqual(self.db.status("scrub"), UNAVAILABLE)


class Offline(Damage):
    """A directory that is worked on while no shard has it open."""

    def setUp(self):
        super().setUp()
        self.one = self.fleet(shards=1, shard_flags=["--file-size", "64K"])
        self.dir = self.one.dir + "/shard-1"
        self.db = self.one.client()
        self.keys = [b"key-%04d" % i for i in range(2000)]
        self.db.ok("mput", [[key, "value of " + key.decode() + 50 * "."] for key in self.keys])
        self.db.ok("put", b"\x00\xff", "odd key")

    def stop(self):
        self.db.close()
        self.one.coordinator.terminate()
        self.one.shards[0].terminate()

    def check(self, code, folder=None):
        before = self.tree(folder or self.dir)
        ran = run([program("shardcask-shard"), "--check", folder or self.dir])
        self.assertEqual(ran.code, code, ran)
        self.assertEqual(self.tree(folder or self.dir), before)
        return [json.loads(line) for line in ran.out.splitlines()], ran.err

    def tree(self, folder):
        """Names, sizes and times of change: what a check must not touch."""
        if not os.path.isdir(folder):
            return None
        return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in os.scandir(folder)}


class Check(Offline):
    """shardcask-shard --check DIR."""

    def test_a_clean_store(self):
        self.stop()
        found, err = self.check(0)
        self.assertEqual([line for line in found if line["damage"]], [])
        self.assertIn(self.dir, err)
        self.assertIn(" 0 damaged places", err)

    def test_a_store_that_is_open_is_refused(self):
        ran = run([program("shardcask-shard"), "--check", self.dir])
        self.assertEqual((ran.code, ran.out), (1, ""))
        self.assertIn("in use", ran.err)

    def test_a_directory_that_is_no_store(self):
        for folder in (self.make_dir(), self.dir + "/nothing"):
            found, err = self.check(1, folder)
            self.assertEqual(found, [])
            self.assertIn(folder, err)

    def test_a_manifest_that_is_lost(self):
        self.stop()
        os.rename(self.dir + "/MANIFEST", self.one.dir + "/MANIFEST")
        found, _ = self.check(3)
        self.assertEqual([line["kind"] for line in found], ["manifest"])

    def test_damage_is_told_with_file_offset_and_key(self):
        self.stop()
        self.spoil(self.one, b"value of key-0017")
        self.spoil(self.one, b"odd key")
        found, _ = self.check(3)
        found = [line for line in found if line["damage"]]
        self.assertEqual({line["kind"] for line in found}, {"value"})
        self.assertTrue(all(line["live"] for line in found))
        self.assertEqual(sorted(str(line["key"]) for line in found),
                         sorted(["key-0017", str({"$bin": "AP8="})]))
        for line in found:
            with open(self.dir + "/" + line["file"], "rb") as data:
                data.seek(line["offset"])
                record = data.read(line["size"])
            self.assertIn(b"key-0017" if line["key"] == "key-0017" else b"\x00\xff", record)

    def test_a_table_on_a_terminal(self):
        self.stop()
        self.spoil(self.one, b"value of key-0017")
        master, slave = pty.openpty()
        code = subprocess.call([program("shardcask-shard"), "--check", self.dir],
                               stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.DEVNULL)
        text = os.read(master, 100000).decode()
        os.close(master)
        os.close(slave)
        self.assertEqual(code, 3)
        self.assertIn("WHAT IT MEANS", text)
        self.assertIn('key "key-0017"', text)


class Repair(Offline):
    """shardcask-shard --repair DIR."""

    def setUp(self):
        super().setUp()
        wait_for(lambda: len(glob.glob(self.dir + "/*.hint")) > 1, "hints of the full files")

    def repair(self, code, *flags):
        ran = run([program("shardcask-shard"), "--repair", self.dir, *flags])
        self.assertEqual(ran.code, code, ran)
        return [json.loads(line) for line in ran.out.splitlines()]

    def content(self, path):
        if not os.path.exists(path):
            return b""
        with open(path, "rb") as data:
            return data.read()

    def serve(self):
        self.one.shards[0].start()
        self.one.coordinator.start()
        self.one.wait_up()
        self.db = self.one.client()

    def test_a_store_that_is_open_is_refused(self):
        def data():  # the shard itself goes on writing hints and marks
            return {name: entry for name, entry in self.tree(self.dir).items()
                    if name.endswith(".data")}
        before = data()
        ran = run([program("shardcask-shard"), "--repair", self.dir])
        self.assertEqual((ran.code, ran.out), (1, ""))
        self.assertIn("in use", ran.err)
        self.assertEqual(data(), before)

    def test_what_is_whole_is_served_again_and_what_is_lost_is_told(self):
        self.db.ok("put", b"gone", "deleted later")
        self.db.ok("del", b"gone")
        self.stop()
        self.spoil(self.one, b"value of key-0017")
        self.spoil(self.one, b"value of key-0234", -3)  # its key: only the hint knows it
        os.remove(self.dir + "/MANIFEST")
        spoilt = {os.path.basename(path): self.content(path)
                  for path in glob.glob(self.dir + "/*.data")}
        said = self.repair(0)
        self.assertTrue(any("MANIFEST.copy" in line.get("repair", "") for line in said))
        for name, content in spoilt.items():  # no byte of them is gone
            self.assertTrue(any(self.content(self.dir + place + name).startswith(content)
                                for place in ("/", "/quarantine/")))
        self.serve()
        for number, key in enumerate(self.keys):
            self.assertEqual(self.db.call("get", key)[0], CORRUPT if number in (17, 234) else 0)
        self.assertEqual(self.db.status("get", b"gone"), NOTFOUND)
        self.db.ok("mput", [[key, "anew"] for key in (self.keys[17], self.keys[234])])
        self.stop()
        self.check(0)

    def test_what_nobody_can_know_is_left_unless_that_is_accepted(self):
        self.stop()
        hints = sorted(glob.glob(self.dir + "/*.hint"))
        os.remove(hints[0])
        os.remove(hints[0].replace(".hint", ".data"))
        self.repair(3)
        self.repair(3)
        self.one.shards[0].start(wait=False)
        wait_for(lambda: not self.one.shards[0].running(), "the shard to refuse its directory")
        self.assertEqual(self.one.shards[0].process.returncode, 1)
        self.one.shards[0].ended_as_asked = True
        self.repair(0, "--accept-loss")
        self.serve()
        found = sum(self.db.call("get", key)[0] == 0 for key in self.keys)
        self.assertTrue(0 < found < len(self.keys))


if __name__ == "__main__":
    harness.main()

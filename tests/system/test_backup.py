"""Backups of a fleet that serves, and what comes of them: into fleets of other sizes, after damage,
after processes died in the middle."""

import glob
import json
import os
import shutil
import subprocess
import threading
import time

import harness
from harness import (BADREQUEST, BUSY, CORRUPT, MISMATCH, NOTFOUND, UNAVAILABLE, Client, SystemTest,
                     Worker, shardcask, wait_for)
from test_damage import Damage

DONE, ERROR, USAGE, UNREACHABLE = 0, 3, 2, 4
SMALL = ["--file-size", "64K"]


class BackupTest(Damage):
    def target(self, name="backup"):
        """A directory that is not there yet."""
        return os.path.join(self.make_dir(), name)

    def backup(self, fleet, directory, *args, status=DONE):
        ran = shardcask(fleet.url, "backup", directory, *args)
        self.assertEqual(ran.code, status, ran)
        return json.loads(ran.out) if status == DONE else ran

    def verify(self, directory, status=DONE):
        ran = shardcask("ipc:///nowhere", "backup", "--verify", directory)
        self.assertEqual(ran.code, status, ran)
        return ran

    def restore(self, fleet, directory, *args, status=DONE):
        ran = shardcask(fleet.url, "restore", directory, *args, cwd=fleet.dir)
        self.assertEqual(ran.code, status, ran)
        return json.loads(ran.out) if status in (DONE, ERROR) and ran.out else ran

    def stored(self, fleet):
        with Client(fleet.url) as db:
            return dict(db.scan(values=True))

    def fill(self, fleet, count=3000, size=100, prefix="key"):
        values = {b"%s-%d" % (prefix.encode(), n): [n, "x" * size] for n in range(count)}
        with Client(fleet.url) as db:
            db.ok("mput", [[key, value] for key, value in values.items()])
        return values


class Copies(BackupTest):
    def test_a_backup_is_restored_to_fleets_of_other_sizes(self):
        fleet = self.fleet(shards=3, shard_flags=SMALL)
        values = self.fill(fleet)
        with Client(fleet.url) as db:
            for n in range(0, 3000, 3):
                del values[b"key-%d" % n]
            db.ok("mdel", [b"key-%d" % n for n in range(0, 3000, 3)])
            values.update({b"bytes": b"\x00\xff", b"\x00\xff": 2 ** 64 - 1, b"small": -2 ** 63,
                           b"nothing": None, b"float": 1e-320, b"x" * 65535: {"deep": [1, [2]]}})
            for key, value in values.items():
                if not key.startswith(b"key"):
                    db.ok("put", key, value)
        directory = self.target()
        made = self.backup(fleet, directory)
        self.assertEqual(made["keys"], len(values))
        self.assertGreater(made["linked_bytes"], 0)
        self.fill(fleet, prefix="later")
        self.verify(directory)
        for shards in (1, 2, 5):
            other = self.fleet(shards=shards)
            done = self.restore(other, directory)
            self.assertEqual((done["restored"], done["kept"], done["left_out"]),
                             (len(values), 0, 0))
            self.assertEqual(self.stored(other), values)

    def test_a_backup_is_one_moment_of_each_shard_while_writes_and_merges_go_on(self):
        # Each writer counts its keys up one after the other: at any moment those before some key
        # have one more than those behind it.
        fleet = self.fleet(shards=2, sync="never", shard_flags=SMALL)
        stop = threading.Event()
        chains = [fleet.keys_of(shard, 100, "chain-%d" % shard) for shard in (1, 2)]
        with Client(fleet.url) as db:
            for keys in chains:
                db.ok("mput", [[key, [0, "x" * 200]] for key in keys])

        def count_up(keys):
            with Client(fleet.url) as db:
                n = 0
                while not stop.is_set():
                    n += 1
                    for key in keys:
                        db.ok("put", key, [n, "x" * 200])

        writers = [Worker(count_up, keys) for keys in chains]
        base = self.make_dir()
        try:
            for n in range(6):
                with Client(fleet.url) as db:
                    db.ok("compact")
                self.backup(fleet, "%s/%d" % (base, n), *(["--copy"] if n % 2 else []))
        finally:
            stop.set()
        for writer in writers:
            writer.join()
        last = 0
        for n in range(6):
            self.verify("%s/%d" % (base, n))
            other = self.fleet(shards=1, sync="never")
            self.restore(other, "%s/%d" % (base, n))
            found = self.stored(other)
            for keys in chains:
                counts = [found[key][0] for key in keys]
                self.assertEqual(counts, sorted(counts, reverse=True))
                self.assertLessEqual(counts[0] - counts[-1], 1)
            self.assertGreaterEqual(found[chains[0][0]][0], last)
            last = found[chains[0][0]][0]
        self.assertGreater(last, 2)
        with Client(fleet.url) as db:
            shards = db.ok("stats")["shards"]
        self.assertGreater(sum(shard["merges"] for shard in shards), 0)
        self.assertEqual([shard["held_bytes"] for shard in shards], [0, 0])

    def test_expiries_are_the_same_moment_and_nothing_comes_back(self):
        fleet = self.fleet(shards=2)
        db = fleet.client()
        db.ok("put", "stays", 1)
        db.ok("put", "expires", 2, {"ttl_ms": 3_600_000})
        db.ok("put", "soon", 3, {"ttl_ms": 1500})
        before = db.ok("meta", "expires")["ttl_ms"] + time.time() * 1000
        directory = self.target()
        self.assertEqual(self.backup(fleet, directory)["keys"], 3)
        wait_for(lambda: db.status("get", "soon") == NOTFOUND, "a key to expire")
        other = self.fleet(shards=1)
        self.assertEqual(self.restore(other, directory)["restored"], 2)
        db = other.client()
        self.assertEqual(db.status("get", "soon"), NOTFOUND)
        self.assertIsNone(db.ok("meta", "stays")["ttl_ms"])
        after = db.ok("meta", "expires")["ttl_ms"] + time.time() * 1000
        self.assertLess(abs(after - before), 50 * harness.PATIENCE)

    def test_a_part_can_take_the_place_of_a_shard(self):
        fleet = self.fleet(shards=2, shard_flags=SMALL)
        values = self.fill(fleet)
        directory = self.target()
        self.backup(fleet, directory)
        self.fill(fleet, prefix="later")
        shard = fleet.shards[0]
        shard.terminate()
        shutil.rmtree(fleet.dir + "/shard-1")
        shutil.copytree(directory + "/shard-1", fleet.dir + "/shard-1")
        shard.start()
        fleet.wait_up()
        found = self.stored(fleet)
        self.assertEqual({k: v for k, v in found.items() if k.startswith(b"key")}, values)
        with Client(fleet.url) as db:
            db.ok("put", "new", 1)
        self.verify(directory)  # it was copied: the backup is as it was

    def test_links_share_blocks_and_copies_do_not(self):
        fleet = self.fleet(shards=1, shard_flags=SMALL)
        self.fill(fleet)
        linked, copied = self.target(), self.target()
        self.assertGreater(self.backup(fleet, linked)["linked_bytes"], 0)
        self.assertEqual(self.backup(fleet, copied, "--copy")["linked_bytes"], 0)
        self.verify(linked)
        # A file that was made ahead of its use may have stayed empty.
        path = next(path for path in sorted(glob.glob(fleet.dir + "/shard-1/*.data"))
                    if os.path.getsize(path) > 8192
                    and os.path.exists(linked + "/shard-1/" + os.path.basename(path)))
        with open(path, "r+b") as data:
            data.seek(5000)
            data.write(b"damage")
        self.assertIn(os.path.basename(path) + ": its checksum is wrong",
                      self.verify(linked, ERROR).err)
        self.verify(copied)


class Refusals(BackupTest):
    def test_what_is_there_is_not_touched(self):
        fleet = self.fleet(shards=2)
        self.fill(fleet, 100)
        directory = self.target()
        self.backup(fleet, directory)
        with open(directory + "/backup.json", "rb") as file:
            before = file.read()
        self.fill(fleet, 200)
        self.assertIn("holds a backup already", self.backup(fleet, directory, status=ERROR).err)
        self.verify(directory)
        with open(directory + "/backup.json", "rb") as file:
            self.assertEqual(file.read(), before)
        other = self.target()
        os.makedirs(other + "/shard-2")
        with open(other + "/shard-2/mine", "w", encoding="utf-8") as file:
            file.write("x")
        self.assertIn("shard-2 is there already", self.backup(fleet, other, status=ERROR).err)
        self.assertEqual(os.listdir(other + "/shard-2"), ["mine"])
        self.assertNotIn("shard-1", os.listdir(other))
        os.unlink(directory + "/backup.json")  # its parts have another label, so they stay
        self.assertIn("is there already", self.backup(fleet, directory, status=ERROR).err)
        self.assertTrue(os.path.exists(directory + "/shard-1/MANIFEST"))
        self.assertTrue(os.path.exists(directory + "/shard-2/MANIFEST"))
        ran = self.backup(fleet, "/nonexistent/folder/backup", status=ERROR)
        self.assertIn("No such file", ran.err)

    def test_all_shards_must_be_there(self):
        fleet = self.fleet(shards=2)
        fleet.shards[1].kill()
        fleet.wait_down(2)
        directory = self.target()
        self.assertIn("shard 2", self.backup(fleet, directory, status=ERROR).err)
        self.assertFalse(os.path.exists(directory))

    def test_wrong_requests(self):
        fleet = self.fleet(shards=1)
        db = fleet.client()
        self.assertEqual(db.ok("backup"), {"state": "idle"})
        for options in ({"dir": "relative"}, {"dir": ""}, {"dir": "/a\0b"}, {"dir": 5},
                        {"dir": "/" + "x" * 1000}, {"copy": True}, {"cancel": False},
                        {"cancel": True, "dir": "/x"}, {"nonsense": 1}, {"bytes_per_second": 1}):
            self.assertEqual(db.status("backup", options), BADREQUEST, options)
        for args in (("--verify",), ("--copy",), ("--cancel", "x"), ("a", "b"),
                     ("x", "--rate", "fast"), ("--verify", "--copy", "x")):
            self.assertEqual(shardcask(fleet.url, "backup", *args).code, USAGE, args)
        self.assertEqual(shardcask(fleet.url, "restore", "x", "--keep", "--overwrite").code, USAGE)
        self.assertEqual(shardcask(fleet.url, "restore", "/nonexistent").code, USAGE)

    def test_a_slow_backup_shows_its_progress_and_can_be_cancelled(self):
        fleet = self.fleet(shards=2)
        self.fill(fleet, 4000, 1000)
        db = fleet.client()
        directory = self.target()
        running = subprocess.Popen([harness.program("shardcask"), "--url", fleet.url, "backup",
                                    directory, "--rate", "100000"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        state = wait_for(lambda: (lambda s: s if s["state"] == "running" and s["bytes_done"] > 0
                                  and s["bytes"] > 4_000_000  # both shards have begun
                                  else None)(db.ok("backup")), "some progress")
        self.assertEqual((state["dir"], len(state["shards"])), (directory, 2))
        self.assertTrue(os.path.isdir(directory + "/shard-1"))
        self.assertEqual(db.status("backup", {"dir": self.target()}), BUSY)
        db.ok("backup", {"cancel": True})
        _, err = running.communicate(timeout=30 * harness.PATIENCE)
        self.assertEqual(running.returncode, ERROR)
        self.assertIn(b"cancelled", err)
        self.assertFalse(os.path.exists(directory))
        self.assertEqual(db.ok("backup")["state"], "failed")
        self.backup(fleet, directory)
        self.verify(directory)

    def test_stopping_a_daemon_gives_it_up(self):
        fleet = self.fleet(shards=2)
        self.fill(fleet, 4000, 1000)
        for daemon in (fleet.coordinator, fleet.shards[1]):
            directory = self.target()
            with Client(fleet.url) as db:
                db.ok("backup", {"dir": directory, "bytes_per_second": 100000})
                wait_for(lambda: db.ok("backup")["bytes_done"] > 0, "some progress")
            daemon.restart()
            fleet.wait_up()
            with Client(fleet.url) as db:
                wait_for(lambda: db.ok("backup")["state"] != "running", "the end")
            wait_for(lambda: not os.path.exists(directory), "the directory to go")
        directory = self.target()
        self.backup(fleet, directory)
        self.verify(directory)


class Restores(BackupTest):
    def setUp(self):
        super().setUp()
        self.source = self.fleet(shards=2, shard_flags=SMALL)
        self.values = self.fill(self.source, 1000)
        self.directory = self.target()
        self.backup(self.source, self.directory)

    def test_only_an_empty_store_is_restored_to_unless_told(self):
        other = self.fleet(shards=3)
        db = other.client()
        db.ok("put", "key-1", "newer")
        db.ok("put", "other", 1)
        self.assertIn("not empty", self.restore(other, self.directory, status=USAGE).err)
        ran = shardcask(other.url, "import", self.directory)
        self.assertEqual((ran.code, "shardcask restore" in ran.err), (USAGE, True), ran)
        self.assertEqual(db.ok("count"), 2)
        done = self.restore(other, self.directory, "--keep")
        self.assertEqual((done["restored"], done["kept"]), (999, 1))
        self.assertEqual(self.stored(other), {**self.values, b"key-1": "newer", b"other": 1})
        done = self.restore(other, self.directory, "--overwrite")
        self.assertEqual(done["restored"], 1000)
        self.assertEqual(self.stored(other), {**self.values, b"other": 1})

    def test_an_interrupted_restore_goes_on(self):
        other = self.fleet(shards=2)
        db = other.client()
        # The first half of it has come already.
        db.ok("mput", [[key, value] for key, value in list(self.values.items())[:500]])
        other.shards[1].kill()
        other.wait_down(2)
        ran = shardcask(other.url, "restore", self.directory, "--keep", cwd=other.dir)
        self.assertIn(ran.code, (ERROR, UNREACHABLE), ran)
        self.assertIn("--keep", ran.err)
        other.shards[1].start()
        other.wait_up()
        done = self.restore(other, self.directory, "--keep")
        self.assertEqual(done["restored"] + done["kept"], 1000)
        self.assertEqual(self.stored(other), self.values)

    def test_damage_is_found_before_anything_is_written(self):
        other = self.fleet(shards=1)
        data = sorted(glob.glob(self.directory + "/shard-2/*.data"))[0]
        listing = self.directory + "/backup.json"

        def flip(path, offset):
            shutil.copy(path, path + ".new")  # not the store's own file, which it is linked to
            os.rename(path + ".new", path)
            with open(path, "r+b") as file:
                file.seek(offset)
                byte = file.read(1)
                file.seek(offset)
                file.write(bytes([byte[0] ^ 1]))

        def cut(path):
            shutil.copy(path, path + ".new")
            os.rename(path + ".new", path)
            os.truncate(path, os.path.getsize(path) - 1)

        for harm, code, said in ((lambda: flip(data, 1000), ERROR, "checksum"),
                                 (lambda: cut(data), ERROR, "bytes"),
                                 (lambda: os.unlink(data), ERROR, "cannot be read"),
                                 (lambda: flip(self.directory + "/shard-1/MANIFEST", 50), ERROR,
                                  "checksum"),
                                 (lambda: flip(listing, 300), USAGE, "is damaged"),
                                 (lambda: flip(listing, 5), USAGE, "is damaged"),
                                 (lambda: cut(listing), USAGE, "is damaged"),
                                 (lambda: os.unlink(listing), USAGE, "did not become complete")):
            whole = self.directory + ".whole"
            shutil.copytree(self.directory, whole)
            harm()
            self.assertIn(said, self.verify(self.directory, ERROR).err)
            ran = shardcask(other.url, "restore", self.directory, cwd=other.dir)
            self.assertEqual(ran.code, code, ran)
            self.assertIn(said, ran.err)
            shutil.rmtree(self.directory)
            os.rename(whole, self.directory)
        with Client(other.url) as db:
            self.assertEqual(db.ok("count"), 0)
        self.verify(self.directory)
        self.restore(other, self.directory)

    def test_records_that_were_damaged_before_are_listed(self):
        with Client(self.source.url) as db:
            db.ok("put", "spoilt", "a value that is going to be damaged")
            self.spoil(self.source, b"a value that is going to be damaged")
            self.assertEqual(db.status("get", "spoilt"), CORRUPT)
        directory = self.target()
        ran = shardcask(self.source.url, "backup", directory)
        self.assertEqual(ran.code, DONE, ran)
        self.assertIn("known to be damaged", ran.err)
        self.verify(directory)
        other = self.fleet(shards=1)
        done = self.restore(other, directory, status=ERROR)
        self.assertEqual(done["restored"], 1000)
        self.assertEqual(done["reasons"].get("damaged record"), 1)
        with open(os.path.join(other.dir, done["report"]), encoding="utf-8") as lines:
            listed = [json.loads(line) for line in lines]
        self.assertIn("spoilt", [line.get("key") for line in listed])
        self.assertEqual(self.stored(other), self.values)

    def test_what_others_write_during_a_restore_stays(self):
        other = self.fleet(shards=2)
        with Client(other.url) as db:
            reply = db.call("put", "key-5", "newer", {"if_version": 0})
            self.assertEqual(reply[0], 0)
            self.assertEqual(db.status("put", "key-5", "old", {"if_version": 0}), MISMATCH)
        self.restore(other, self.directory, "--keep")
        self.assertEqual(self.stored(other)[b"key-5"], "newer")


class Deaths(BackupTest):
    """A process dies, or a system call fails, at each step: nothing that looks like a backup is left,
    or a whole one, and the store has everything."""

    SHARD = ("backup_dir_made", "backup_labelled", "backup_cut", "backup_linked:2", "backup_copied", "backup_synced",
             "backup_before_manifest", "backup_after_manifest")
    COORDINATOR = ("backup_prepared", "backup_begun", "backup_list_written")
    FAILURES = ("backup_list_open:1", "backup_list_write:1", "backup_list_sync:1",
                "backup_list_open:2", "backup_list_write:2", "backup_list_sync:2",
                "backup_list_rename:1", "backup_list_sync_dir:1")

    def setUp(self):
        super().setUp()
        self.one = self.fleet(shards=2, shard_flags=SMALL)
        self.values = self.fill(self.one, 1500, 200)

    def restart_with(self, daemon, point):
        daemon.terminate()
        os.environ["SHARDCASK_FAILPOINT"] = point
        try:
            daemon.start()
        finally:
            del os.environ["SHARDCASK_FAILPOINT"]
        self.one.wait_up()

    def check_nothing(self, directory):
        self.assertFalse(os.path.exists(directory + "/backup.json"))
        self.assertIn("did not become complete", self.verify(directory, ERROR).err)

    def check_store(self):
        self.one.wait_up()
        self.assertEqual(self.stored(self.one), self.values)

    def check_again(self, directory):
        """What is left is replaced by the next backup to the same directory."""
        wait_for(lambda: shardcask(self.one.url, "backup", directory).code == DONE,
                 "a backup in the place of the interrupted one", 90)
        self.verify(directory)
        self.assertEqual(sorted(os.listdir(directory)), ["backup.json", "shard-1", "shard-2"])

    def die(self, daemon, point):
        directory = self.target()
        self.restart_with(daemon, point)
        asking = subprocess.Popen([harness.program("shardcask"), "--url", self.one.url, "backup",
                                   directory], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: not daemon.running(), "the end of the process at " + point)
        daemon.ended_as_asked = True
        daemon.start()
        _, err = asking.communicate(timeout=60 * harness.PATIENCE)
        self.assertIn(asking.returncode, (ERROR, UNREACHABLE), err)
        return directory

    def test_shards_die(self):
        for point in self.SHARD:
            with self.subTest(point):
                directory = self.die(self.one.shards[1], point)
                self.check_nothing(directory)
                self.check_store()
                self.check_again(directory)

    def test_a_shard_dies_while_it_removes_what_is_left(self):
        directory = self.die(self.one.coordinator, "backup_list_written")
        for point in ("label_reclaiming", "label_reclaimed"):
            self.restart_with(self.one.shards[1], point)
            self.assertNotEqual(shardcask(self.one.url, "backup", directory).code, DONE)
            wait_for(lambda: not self.one.shards[1].running(), "the end of the shard")
            self.one.shards[1].ended_as_asked = True
            self.one.shards[1].start()
            self.check_store()
            self.check_nothing(directory)
        self.check_again(directory)

    def test_the_coordinator_dies(self):
        for point in self.COORDINATOR:
            with self.subTest(point):
                directory = self.die(self.one.coordinator, point)
                self.check_nothing(directory)
                self.check_store()
                self.check_again(directory)
        directory = self.die(self.one.coordinator, "backup_list_renamed")
        self.verify(directory)  # that was the last step
        self.check_store()
        other = self.fleet(shards=1)
        self.restore(other, directory)
        self.assertEqual(self.stored(other), self.values)

    def test_calls_fail(self):
        for point in self.FAILURES:
            with self.subTest(point):
                directory = self.target()
                self.restart_with(self.one.coordinator, point + ":fail")
                ran = self.backup(self.one, directory, status=ERROR)
                self.assertIn("Input/output error", ran.err)
                self.assertFalse(os.path.exists(directory))
                self.backup(self.one, directory)
                self.verify(directory)
        self.check_store()


if __name__ == "__main__":
    harness.main()

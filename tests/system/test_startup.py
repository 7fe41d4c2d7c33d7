"""Daemons that cannot start, and say why: one line, exit status 1, or 2 for wrong flags."""

import os
import shutil
import socket
import unittest

import harness
from harness import (BADREQUEST, OK, TOOLARGE, Client, Daemon, SystemTest, program, wait_for)

SHARD, COORDINATOR = "shardcask-shard", "shardcask-coordinator"


class StartTest(SystemTest):
    def fails(self, code, name, *args, wrapper=()):
        """The reason that a daemon gives for not starting."""
        ran = harness.run([*wrapper, program(name), *args], seconds=20)
        self.assertEqual(ran.code, code, (args, ran))
        self.assertEqual(ran.out, "", args)
        reason = [line for line in ran.err.splitlines() if name + ":" in line]
        self.assertTrue(reason, ran)
        return reason[0]

    def url(self, name):
        return "ipc://%s/%s" % (self.dir, name)

    def setUp(self):
        super().setUp()
        self.dir = self.make_dir()


class Flags(StartTest):
    def test_help_and_version(self):
        for name in (SHARD, COORDINATOR):
            for flag in ("--help", "--version"):
                ran = harness.run([program(name), flag])
                self.assertEqual((ran.code, ran.err), (0, ""))
                self.assertIn(name, ran.out)

    def test_wrong_flags_are_2(self):
        some = self.url("x.sock")
        for args in ([], ["--dir"], ["--nonsense"], ["--dir", self.dir, "more"],
                     ["--dir", self.dir, "--listen", "nonsense"], ["--dir", self.dir, "--listen", ""],
                     ["--dir", self.dir, "--listen", "http://x/"],
                     ["--dir", self.dir, "--listen", "tcp://127.0.0.1:99999"],
                     ["--dir", self.dir, "--listen", "ipc://" + "x" * 200],
                     ["--dir", self.dir, "--listen", some, "--max-value", "0"],
                     ["--dir", self.dir, "--listen", some, "--max-value", "big"],
                     ["--dir", self.dir, "--listen", some, "--max-message", "-1"],
                     ["--dir", self.dir, "--listen", some, "--log", "loud"]):
            for name in (SHARD, COORDINATOR):
                if name == COORDINATOR and args == ["--dir", self.dir]:
                    continue
                self.fails(2, name, *args)
        for sync in ("sometimes", "-1", "1.5", ""):
            self.assertIn("--sync '%s'" % sync, self.fails(2, SHARD, "--dir", self.dir, "--listen",
                                                           some, "--sync", sync))
        self.fails(2, SHARD, "--dir", self.dir)  # a shard has no address of its own accord
        self.fails(2, COORDINATOR, "--dir", self.dir, "--listen", some, "--shard", "nonsense")


class Addresses(StartTest):
    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            url = "tcp://127.0.0.1:%d" % taken.getsockname()[1]
            self.assertIn(url, self.fails(1, SHARD, "--dir", self.dir + "/s", "--listen", url))
            self.assertIn(url, self.fails(1, COORDINATOR, "--dir", self.dir + "/c", "--listen", url,
                                          "--shard", self.url("x.sock")))

    def test_a_socket_in_use_is_not_taken_away(self):
        fleet = self.fleet(shards=1)
        url = fleet.shards[0].url
        self.assertIn(url, self.fails(1, SHARD, "--dir", self.dir + "/other", "--listen", url))
        fleet.client().ok("put", "k", 1)

    def test_a_socket_in_a_folder_that_is_not_there(self):
        self.assertIn("does not exist", self.fails(1, SHARD, "--dir", self.dir + "/s", "--listen",
                                                   self.url("absent/x.sock")))

    def test_a_stale_socket_is_no_obstacle(self):
        fleet = self.fleet(shards=1)
        fleet.shards[0].kill()
        self.assertTrue(os.path.exists(fleet.shards[0].url[6:]))
        fleet.shards[0].start()

    def test_the_coordinator_starts_without_its_shards(self):
        coordinator = self.own(Daemon("coordinator", [
            program(COORDINATOR), "--dir", self.dir + "/c", "--listen", self.url("c.sock"),
            "--shard", self.url("1.sock"), "--shard", self.url("2.sock")], self.dir + "/log",
            self.url("c.sock"))).start()
        with Client(coordinator.url) as client:
            self.assertEqual([s["state"] for s in client.ok("map")["shards"]], ["down", "down"])


class Directories(StartTest):
    def test_a_second_process_on_one_directory(self):
        fleet = self.fleet(shards=1)
        reason = self.fails(1, SHARD, "--dir", fleet.dir + "/shard-1", "--listen", self.url("x.sock"))
        self.assertIn(fleet.dir + "/shard-1", reason)
        reason = self.fails(1, COORDINATOR, "--dir", fleet.dir + "/coordinator", "--listen",
                            self.url("x.sock"))
        self.assertIn(fleet.dir + "/coordinator", reason)
        fleet.client().ok("put", "k", 1)

    def test_the_directory_of_the_other_daemon(self):
        fleet = self.fleet(shards=1)
        fleet.coordinator.terminate()
        fleet.shards[0].terminate()
        for name, taken, whose in ((SHARD, "coordinator", "of a coordinator"),
                                   (COORDINATOR, "shard-1", "of a shard")):
            path = os.path.join(fleet.dir, taken)
            before = sorted(os.listdir(path))
            reason = self.fails(2, name, "--dir", path, "--listen", self.url("x.sock"),
                                *(["--shard", self.url("y.sock")] if name == COORDINATOR else []))
            self.assertIn(whose, reason)
            self.assertEqual(sorted(os.listdir(path)), before)

    def test_a_file_instead_of_a_directory(self):
        path = self.dir + "/file"
        with open(path, "w", encoding="ascii") as out:
            out.write("x")
        for name in (SHARD, COORDINATOR):
            self.assertIn(path, self.fails(1, name, "--dir", path, "--listen", self.url("x.sock")))
            self.assertIn(path, self.fails(1, name, "--dir", path + "/in", "--listen", self.url("y.sock")))

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "root reads everything")
    def test_files_that_cannot_be_read(self):
        fleet = self.fleet(shards=1)
        fleet.client().ok("put", "k", 1)
        for daemon in (fleet.coordinator, fleet.shards[0]):
            daemon.terminate()
        wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] \
            if os.geteuid() == 0 else []
        os.chmod(fleet.dir, 0o755)
        for folder, name in (("shard-1", SHARD), ("coordinator", COORDINATOR)):
            path = fleet.dir + "/" + folder
            for file in os.listdir(path):
                os.chmod(path + "/" + file, 0)
            os.chmod(path, 0o555 if os.geteuid() == 0 else 0o755)
            reason = self.fails(1, name, "--dir", path, "--listen", self.url("z.sock"), wrapper=wrapper)
            self.assertIn(path, reason)

    def test_a_shard_listed_twice(self):
        url = self.url("1.sock")
        self.fails(2, COORDINATOR, "--dir", self.dir + "/c", "--listen", self.url("c.sock"),
                   "--shard", url, "--shard", url)

    def test_later_starts_go_by_the_map(self):
        fleet = self.fleet(shards=2)
        fleet.client().ok("put", "k", 1)
        before = fleet.client().ok("map")
        fleet.coordinator.terminate()
        fleet.coordinator.argv += ["--shard", self.url("more.sock")]
        fleet.coordinator.start()
        fleet.wait_up()
        after = fleet.client().ok("map")
        self.assertEqual([s["url"] for s in after["shards"]], [s["url"] for s in before["shards"]])
        self.assertEqual(after["ranges"], before["ranges"])
        self.assertIn(b"more.sock", fleet.coordinator.text())


class DamagedFiles(StartTest):
    """Files that a start depends on, damaged by whatever: a start that would have to guess is
    refused; one that need not goes on."""

    def setUp(self):
        super().setUp()
        self.one = self.fleet(shards=1)
        self.db = self.one.client()
        self.db.ok("put", "k", "before")
        self.db.close()
        self.one.coordinator.terminate()
        self.one.shards[0].terminate()
        self.shard_dir = self.one.dir + "/shard-1"
        self.coordinator_dir = self.one.dir + "/coordinator"

    def change(self, path, change):
        with open(path, "rb") as old:
            data = bytearray(old.read())
        data = change(data)
        with open(path, "wb") as new:
            new.write(data)

    def refused(self, name, folder, *words):
        reason = self.fails(1, name, "--dir", folder, "--listen", self.url("x.sock"))
        for word in (folder,) + words:
            self.assertIn(word, reason)

    def starts(self):
        self.one.start()
        self.assertEqual(self.one.client().ok("get", "k"), "before")

    @staticmethod
    def flip(*places):
        def change(data):
            for place in places:
                data[place] ^= 1
            return data
        return change

    def test_a_manifest_that_is_damaged_twice(self):
        path = self.shard_dir + "/MANIFEST"
        self.change(path, lambda data: self.flip(40, len(data) // 2 + 40)(data))
        self.refused(SHARD, self.shard_dir, "MANIFEST", "damaged")

    def test_a_manifest_that_is_damaged_once_is_enough(self):
        for place in (0, 8, 13, 20, 40):
            self.change(self.shard_dir + "/MANIFEST", self.flip(place))
            self.starts()
            self.one.shards[0].kill()
            self.one.coordinator.kill()

    def test_a_manifest_of_a_newer_format(self):
        def change(data):
            data[8] = data[len(data) // 2 + 8] = 200
            return data
        self.change(self.shard_dir + "/MANIFEST", change)
        self.refused(SHARD, self.shard_dir, "MANIFEST", "format")

    def test_a_manifest_that_is_gone(self):
        os.unlink(self.shard_dir + "/MANIFEST")
        self.refused(SHARD, self.shard_dir, "MANIFEST")

    def test_a_data_file_that_is_gone_is_told_of(self):
        file = [name for name in os.listdir(self.shard_dir) if name.endswith(".data")][0]
        os.rename(self.shard_dir + "/" + file, self.one.dir + "/kept")
        ran = harness.run(["timeout", "5", *self.one.shards[0].argv])
        self.assertIn(file, ran.err)
        if ran.code == 124:  # it serves what is left, and says what is missing
            self.assertTrue("missing" in ran.err or "lost" in ran.err, ran.err)

    def test_marks_and_hints_are_not_needed(self):
        for name in os.listdir(self.shard_dir):
            if name == "DURABLE" or name.endswith(".hint"):
                self.change(self.shard_dir + "/" + name, lambda data: b"nonsense" * 9)
        self.starts()

    def test_a_map_of_a_newer_format(self):
        def change(data):
            data[8] = 9
            return data
        self.change(self.coordinator_dir + "/map.log", change)
        self.refused(COORDINATOR, self.coordinator_dir, "map.log", "format 9")

    def test_a_map_that_is_damaged_in_the_middle(self):
        self.change(self.coordinator_dir + "/map.log", self.flip(30))
        self.refused(COORDINATOR, self.coordinator_dir, "map.log", "offset 16")

    def test_a_map_that_is_no_map(self):
        for data in (b"", b"SCMAP", b"x" * 100):
            self.change(self.coordinator_dir + "/map.log", lambda old, data=data: data)
            self.refused(COORDINATOR, self.coordinator_dir, "map.log")

    def test_a_last_entry_that_is_not_whole_is_cut_off(self):
        for change in (lambda data: data + b"\0" * 100, lambda data: data + b"rubbish" * 9,
                       lambda data: data[:-1]):
            self.change(self.coordinator_dir + "/map.log", change)
            self.starts()
            self.one.coordinator.terminate()
            self.one.shards[0].terminate()


class Limits(SystemTest):
    def test_a_small_message_limit_is_one_of_clients_only(self):
        """Shards answer many clients in one message, which may be larger."""
        fleet = self.fleet(shards=1, coordinator_flags=["--max-message", "1M", "--max-value", "500K"])
        client = fleet.client()
        value = bytes(300000)
        for n in range(30):
            client.ok("put", b"%d" % n, value)
        for _ in range(3):
            ids = [client.send("get", b"%d" % n) for n in range(30)]
            for request_id in ids:
                self.assertEqual(client.wait(request_id), [OK, value])
        statuses = [reply[0] for reply in client.ok("mget", [b"%d" % n for n in range(30)])]
        self.assertEqual(statuses, [OK] * 3 + [TOOLARGE] * 27)

    def test_values_over_max_value(self):
        fleet = self.fleet(shards=1, shard_flags=["--max-value", "1M"],
                           coordinator_flags=["--max-value", "1M"])
        client = fleet.client()
        client.ok("put", "k", bytes((1 << 20) - 5))
        self.assertEqual(client.status("put", "k", bytes((1 << 20) - 4)), TOOLARGE)
        replies = client.ok("mput", [["a", bytes(1 << 20)], ["b", 1]])
        self.assertEqual([r[0] for r in replies], [TOOLARGE, OK])
        with Client(fleet.shards[0].url) as shard:
            self.assertEqual(shard.status("put", "k", bytes(1 << 20)), TOOLARGE)

    def test_it_says_when_it_is_ready(self):
        fleet = self.fleet(shards=1)
        for daemon in (fleet.coordinator, fleet.shards[0]):
            self.assertEqual(daemon.text().count(b"ready to serve"),
                             2 if daemon is fleet.coordinator else 1)
            self.assertIn(daemon.url.encode(), daemon.text())

    def test_sigint_stops_too(self):
        fleet = self.fleet(shards=1)
        for daemon in (fleet.coordinator, fleet.shards[0]):
            daemon.signal(2)
            self.assertEqual(daemon.process.wait(20), 0)
            daemon.ended_as_asked = True

    def test_bad_requests_are_no_reason_to_go(self):
        fleet = self.fleet(shards=1)
        self.assertEqual(fleet.client().status("nonsense"), BADREQUEST)
        wait_for(fleet.coordinator.running, "the coordinator to run on")


if __name__ == "__main__":
    harness.main()

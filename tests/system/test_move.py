"""Growing and shrinking the fleet while it serves, with clients that judge every answer, and with every
process killed at every step."""

import os
import random
import threading

import harness
from harness import BADREQUEST, BUSY, DENIED, NOTFOUND, OK, UNAVAILABLE, UNKNOWN, SystemTest, wait_for
from workload import Load

# Where the coordinator can be killed on the way of a batch of slots.
STEPS = ["move_before_import", "move_before_export", "move_before_read", "move_before_write",
         "move_before_hold", "move_before_seal", "move_before_finish", "move_before_commit",
         "move_committed", "move_fenced", "move_activated", "move_before_end"]
# ... and the shard that gets it, and the one that has it.
TARGET_STEPS = ["import_before_manifest", "import_begun", "import_taken", "import_before_ready",
                "import_ready", "grant_before_manifest", "grant_after_manifest"]
SOURCE_STEPS = ["export_before_manifest", "export_begun", "export_sealed", "export_seal_synced",
                "fence_synced", "grant_before_manifest", "grant_after_manifest"]


def slots_of(client):
    """Shard id -> how many slots it owns."""
    owned = {}
    for first, last, owner in client.ok("map")["ranges"]:
        owned[owner] = owned.get(owner, 0) + last - first + 1
    return owned


class MoveTest(SystemTest):
    def add_shard(self, fleet, **options):
        """Starts another shard and adds it; returns its id."""
        shard = fleet.make_shard(len(fleet.shards) + 1, **options)
        fleet.shards.append(shard)
        shard.start()
        with harness.Client(fleet.url) as client:
            reply = self.ask_to_add(client, shard.url)
            self.assertEqual(reply[0], OK, reply)
            return reply[1]

    def ask_to_add(self, client, url):
        """The reply to shard.add; it says "busy" while another one is being added."""
        def ask():
            reply = client.call("shard.add", url)
            return None if reply[0] == BUSY else reply
        return wait_for(ask, "shard.add to be answered")

    def rebalance(self, fleet, *options):
        with harness.Client(fleet.url) as client:
            return client.ok("rebalance", *options)

    def wait_idle(self, fleet, seconds=60):
        def idle():
            try:
                return self.rebalance(fleet)["state"] == "idle" and \
                    set(fleet.states().values()) == {"up"}
            except harness.Lost:
                return False
        wait_for(idle, "the slots to have moved", seconds)

    def restart_with(self, daemon, failpoint):
        """Starts a daemon again with failpoints ('' for none)."""
        daemon.argv = [a for a in daemon.argv if not a.startswith("SHARDCASK_FAILPOINT=")]
        if daemon.argv[0] != "env":
            daemon.argv = ["env"] + daemon.argv
        daemon.argv = ["env", "SHARDCASK_FAILPOINT=" + failpoint] + daemon.argv[1:]
        daemon.restart()


class GrowTest(MoveTest):
    def test_a_fleet_grows_and_shrinks_and_no_client_notices(self):
        fleet = self.fleet(shards=2)
        load = Load(self, [fleet.url, fleet.ipc], random.random(), allowed=())
        load.wait_for_progress(300)
        client = fleet.client()
        for count in (3, 4):
            before = client.ok("map")["ranges"]
            new = self.add_shard(fleet)
            self.wait_idle(fleet)
            owned = slots_of(client)
            self.assertEqual(owned[new], harness.SLOTS // count)
            self.assertLessEqual(max(owned.values()) - min(owned.values()), 1)
            old = {slot: owner for first, last, owner in before for slot in range(first, last + 1)}
            for first, last, owner in client.ok("map")["ranges"]:
                self.assertTrue(owner == new or
                                {old[slot] for slot in range(first, last + 1)} == {owner})
            load.wait_for_progress(300)
        client.ok("shard.remove", 1)
        wait_for(lambda: 1 not in fleet.states(), "shard 1 to leave", 60)
        self.wait_idle(fleet)
        fleet.shards[0].terminate()
        owned = slots_of(client)
        self.assertEqual(set(owned), {2, 3, 4})
        self.assertLessEqual(max(owned.values()) - min(owned.values()), 1)
        load.wait_for_progress(300)
        load.stop()
        load.verify(fleet.url)

    def test_shards_are_added_one_after_another_under_load(self):
        """Three of them; SC_MOVE_ALL=1: until there are sixteen."""
        fleet = self.fleet(shards=1, sync="100")
        load = Load(self, [fleet.url, fleet.ipc], random.random(), writers=2, allowed=())
        client = fleet.client()
        keys = [b"bulk-%d" % n for n in range(3000)]
        client.ok("mput", [[key, key * 20] for key in keys])
        for count in range(2, 17 if "SC_MOVE_ALL" in os.environ else 5):
            before = self.owners(client)
            new = self.add_shard(fleet)
            self.wait_idle(fleet)
            after = self.owners(client)
            owned = slots_of(client)
            self.assertEqual(owned[new], harness.SLOTS // count)
            self.assertLessEqual(max(owned.values()) - min(owned.values()), 1)
            self.assertEqual({after[slot] for slot in range(harness.SLOTS)
                              if after[slot] != before[slot]}, {new})
            for key, reply in zip(keys, client.ok("mget", keys)):
                self.assertEqual(reply, [OK, key * 20])
            load.wait_for_progress(200)
        load.stop()
        load.verify(fleet.url, keys)

    def test_writes_faster_than_the_rate_do_not_keep_a_shard_from_leaving(self):
        """All of them go to its slots, and the rate is a small part of what is written."""
        fleet = self.fleet(shards=2)
        client = fleet.client()
        owners = self.owners(client)
        keys = [key for key in (b"busy-%d" % n for n in range(4000))
                if owners[harness.slot_of(key)] == 2]
        client.ok("mput", [[key, b""] for key in keys])
        client.ok("rebalance", {"bytes_per_second": 300000})
        stop, rounds, failed = threading.Event(), [0], []

        def write():
            with harness.Client(fleet.url) as writer:
                while not stop.is_set() and not failed:
                    value = b"%0200d" % (rounds[0] + 1)
                    try:
                        replies = writer.ok("mput", [[key, value] for key in keys])
                    except (harness.StatusError, harness.Lost) as error:
                        failed.append(error)
                        return
                    failed.extend(reply for reply in replies if reply[0] != OK)
                    rounds[0] += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_for(lambda: rounds[0] > 3, "writes to go on")
            before = rounds[0]
            client.ok("shard.remove", 2)
            wait_for(lambda: 2 not in fleet.states(), "shard 2 to leave", 60)
            self.assertGreater(rounds[0], before + 3)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failed, [])
        for reply in client.ok("mget", keys):
            self.assertEqual(reply, [OK, b"%0200d" % rounds[0]])

    def owners(self, client):
        return [owner for first, last, owner in client.ok("map")["ranges"]
                for _ in range(first, last + 1)]

    def test_weights_count(self):
        fleet = self.fleet(shards=2)
        shard = fleet.make_shard(3).start()
        client = fleet.client()
        self.assertEqual(client.ok("shard.add", shard.url, {"weight": 200}), 3)
        self.wait_idle(fleet)
        self.assertEqual(slots_of(client), {1: 4096, 2: 4096, 3: 8192})

    def test_several_shards_are_planned_together(self):
        fleet = self.fleet(shards=2)
        client = fleet.client()
        client.ok("rebalance", {"pause": True})
        for _ in range(2):
            self.add_shard(fleet)
        state = client.ok("rebalance")
        self.assertEqual(state["state"], "paused")
        self.assertEqual(state["slots_left"], 8192)
        wait_for(lambda: fleet.states()[3] == "joining", "shard 3 to be introduced")
        client.ok("rebalance", {"pause": False})
        self.wait_idle(fleet)
        self.assertEqual(slots_of(client), {n: 4096 for n in (1, 2, 3, 4)})

    def test_not_all_shards_can_be_removed_at_once(self):
        fleet = self.fleet(shards=2)
        client = fleet.client()
        asked = [client.send("shard.remove", number) for number in (1, 2)]
        statuses = sorted(client.wait(request_id)[0] for request_id in asked)
        self.assertEqual(statuses[0], OK)
        self.assertIn(statuses[1], (BADREQUEST, BUSY))
        self.wait_idle(fleet)
        self.assertEqual(list(slots_of(client).values()), [harness.SLOTS])

    def test_what_was_copied_too_fast_is_made_up_for(self):
        """Not how long it takes: that a copy which has used up its rate does not go on."""
        fleet = self.fleet(shards=1)
        client = fleet.client()
        client.ok("mput", [[b"k%d" % n, b"x" * 1000] for n in range(4000)])
        client.ok("rebalance", {"bytes_per_second": 1000})
        self.add_shard(fleet)
        wait_for(lambda: any(move["bytes_done"] > 30000 for move in client.ok("rebalance")["moves"]),
                 "the first frame, which takes longer than anybody waits to make up for")
        for _ in range(20):
            self.assertGreater(client.ok("rebalance")["slots_left"], 7000)
        client.ok("rebalance", {"bytes_per_second": 0})
        self.wait_idle(fleet)

    def test_what_is_refused(self):
        fleet = self.fleet(shards=1)
        client = fleet.client()
        self.assertEqual(self.ask_to_add(client, "ipc://%s/nobody.sock" % fleet.dir)[0],
                         UNAVAILABLE)
        for url in (fleet.shards[0].url, "no address", fleet.url):
            reply = self.ask_to_add(client, url)
            self.assertEqual(reply[0], BADREQUEST, reply)
        self.assertEqual(client.status("shard.remove", 1), BADREQUEST)
        self.assertEqual(client.status("shard.remove", 9), NOTFOUND)
        other = self.fleet(shards=1)
        reply = self.ask_to_add(client, other.shards[0].url)
        self.assertEqual(reply[0], DENIED)
        self.assertIn("empty directory", reply[1])
        self.assertEqual(slots_of(client), {1: harness.SLOTS})

    def test_moves_are_steered_and_cancelled(self):
        fleet = self.fleet(shards=1)
        client = fleet.client()
        client.ok("mput", [[b"k%d" % n, b"x" * 1000] for n in range(4000)])
        client.ok("rebalance", {"pause": True})
        self.add_shard(fleet)
        self.assertEqual(slots_of(client), {1: harness.SLOTS})
        client.ok("rebalance", {"pause": False, "bytes_per_second": 50000})
        wait_for(lambda: client.ok("rebalance")["slots_left"] < 8192, "a batch to be through")
        client.ok("rebalance", {"cancel": True})
        self.wait_idle(fleet)
        owned = slots_of(client)
        self.assertTrue(0 < owned[2] < 8192, owned)
        self.assertEqual(client.ok("count"), 4000)
        client.ok("rebalance", {"pause": False, "bytes_per_second": 0})
        self.wait_idle(fleet)
        self.assertEqual(slots_of(client), {1: 8192, 2: 8192})
        self.assertEqual(client.ok("count"), 4000)
        self.assertEqual(len(set(client.scan())), 4000)


    def test_what_was_cancelled_is_not_taken_up_by_the_next_coordinator(self):
        """The batch has not ended when the coordinator dies, as the target does not answer; the next
        one could carry it out in a few milliseconds."""
        fleet = self.fleet(shards=1)
        client = fleet.client()
        client.ok("mput", [[b"k%d" % n, b"x"] for n in range(100)])
        client.ok("rebalance", {"pause": True})
        self.add_shard(fleet)
        wait_for(lambda: fleet.states()[2] == "joining", "the shard to be introduced")
        fleet.shards[1].freeze()
        client.ok("rebalance", {"pause": False})
        wait_for(lambda: client.ok("rebalance")["moves"], "a batch")
        client.ok("rebalance", {"cancel": True})
        fleet.coordinator.kill()
        fleet.shards[1].thaw()
        fleet.coordinator.start()
        self.wait_idle(fleet)
        self.assertEqual(slots_of(fleet.client()), {1: harness.SLOTS})
        self.assertEqual(fleet.client().ok("count"), 100)

    def test_a_move_that_is_cancelled_while_writes_wait_refuses_none_of_them(self):
        """The source is told to take writes again before those that wait go there."""
        fleet = self.fleet(shards=1, sync="never")
        load = Load(self, [fleet.url], random.random(), allowed=())
        client = fleet.client()
        shard = fleet.make_shard(2)
        fleet.shards.append(shard)
        late = ",".join("x.finish:%d:late" % count for count in range(1, 20))
        self.restart_with(shard, late)
        client.ok("shard.add", shard.url)
        for _ in range(4):
            wait_for(lambda: any(move["stage"] == "handing over"
                                 for move in client.ok("rebalance")["moves"]), "a seal")
            client.ok("rebalance", {"cancel": True})
            load.wait_for_progress(20)
            client.ok("rebalance", {"pause": False})
        self.wait_idle(fleet)
        load.wait_for_progress(50)
        load.stop()
        load.verify(fleet.url)


    def test_a_shard_that_joined_and_died_can_leave(self):
        fleet = self.fleet(shards=2)
        client = fleet.client()
        client.ok("mput", [[b"k%d" % n, b"x" * 1000] for n in range(4000)])
        client.ok("rebalance", {"bytes_per_second": 1000})
        new = self.add_shard(fleet)
        wait_for(lambda: any(move["to"] == new and move["stage"] == "copying"
                             for move in client.ok("rebalance")["moves"]), "a batch to be copied")
        fleet.shards[-1].kill()
        wait_for(lambda: any("shard 3 at" in move["trouble"]
                             for move in client.ok("rebalance")["moves"]), "the trouble to be told")
        client.ok("rebalance", {"bytes_per_second": 0})
        client.ok("shard.remove", new)
        wait_for(lambda: new not in fleet.states(), "the shard to leave", 30)
        self.wait_idle(fleet)
        self.assertEqual(client.ok("count"), 4000)


    def test_a_shard_that_is_down_is_waited_for_and_named(self):
        fleet = self.fleet(shards=2)
        client = fleet.client()
        fleet.shards[1].kill()
        fleet.wait_down(2)
        client.ok("shard.remove", 2)
        state = client.ok("rebalance")
        self.assertEqual((state["state"], state["slots_left"]), ("moving", 8192))
        self.assertIn("shard 2 at", state["trouble"])
        fleet.shards[1].start()
        wait_for(lambda: 2 not in fleet.states(), "the shard to leave", 60)
        self.assertEqual(client.ok("rebalance")["trouble"], "")


class CrashTest(MoveTest):
    """Any process dies at any step, and the moves end by themselves. A few steps, other ones each time;
    SC_MOVE_ALL=1: every step."""

    def some(self, names, count):
        return names if "SC_MOVE_ALL" in os.environ else random.sample(names, count)

    def loaded_fleet(self):
        fleet = self.fleet(shards=2)
        load = Load(self, [fleet.url], random.random(), writers=2, allowed=(UNAVAILABLE, UNKNOWN),
                    timeout=5)
        load.wait_for_progress(100)
        return fleet, load

    def again(self, fleet, load):
        """The end of a subtest: the next one begins with nothing."""
        self.finish(fleet, load)
        self.tearDown()
        self.setUp()

    def grow(self, failpoint):
        fleet, load = self.loaded_fleet()
        self.restart_with(fleet.coordinator, failpoint)
        fleet.wait_up()
        try:
            self.add_shard(fleet)
        except harness.Lost:
            pass  # the coordinator died before it could answer
        return fleet, load

    def finish(self, fleet, load):
        self.wait_idle(fleet)
        load.wait_for_progress(100)
        load.stop()
        load.verify(fleet.url)
        with harness.Client(fleet.url) as client:
            self.assertEqual(slots_of(client)[3], harness.SLOTS // 3)

    def test_the_coordinator_is_killed_at_every_step(self):
        for step in self.some(STEPS, 3):
            with self.subTest(step):
                fleet, load = self.grow("%s:%d" % (step, random.randrange(1, 3)))
                wait_for(lambda: not fleet.coordinator.running(), step + " to be passed", 30)
                fleet.coordinator.kill()
                self.restart_with(fleet.coordinator, "")
                self.again(fleet, load)

    def dies(self, shard, step):
        wait_for(lambda: not shard.running(), step + " to be passed", 30)
        shard.kill()
        self.restart_with(shard, "")

    def test_the_target_is_killed_at_every_step(self):
        for step in self.some(TARGET_STEPS, 3):
            with self.subTest(step):
                fleet, load = self.loaded_fleet()
                shard = fleet.make_shard(3)
                fleet.shards.append(shard)
                # Its first two grants belong to the introduction.
                self.restart_with(shard, "%s:%d" % (step, 3 if step.startswith("grant") else
                                                    random.randrange(1, 3)))
                with harness.Client(fleet.url) as client:
                    self.assertEqual(client.ok("shard.add", shard.url), 3)
                self.dies(shard, step)
                self.again(fleet, load)

    def test_the_source_is_killed_at_every_step(self):
        for step in self.some(SOURCE_STEPS, 3):
            with self.subTest(step):
                fleet, load = self.loaded_fleet()
                self.restart_with(fleet.shards[0], "%s:%d" % (step, random.randrange(2, 4)))
                fleet.wait_up()
                self.add_shard(fleet)
                self.dies(fleet.shards[0], step)
                self.again(fleet, load)

    def test_source_and_target_are_killed_while_slots_move(self):
        fleet = self.fleet(shards=2)
        load = Load(self, [fleet.url], random.random(), writers=2, allowed=(UNAVAILABLE, UNKNOWN),
                    timeout=5)
        load.wait_for_progress(100)
        self.add_shard(fleet)
        for _ in range(12):
            if self.rebalance(fleet)["state"] == "idle":
                break
            shard = random.choice(fleet.shards)
            shard.kill()
            shard.start()
        self.finish(fleet, load)

    def wait_stopped(self, daemon, step):
        """Until it has stopped itself at a failpoint."""
        flags = os.WSTOPPED | os.WNOWAIT | os.WNOHANG
        wait_for(lambda: os.waitid(os.P_PID, daemon.process.pid, flags), step + " to be passed", 30)

    def test_shards_are_killed_while_the_coordinator_is_at_any_step(self):
        """The coordinator stands at a step; whoever dies meanwhile is back before it goes on, or not."""
        cases = [(step, victims) for step in STEPS
                 for victims in ("source", "target", "source target", "source coordinator",
                                 "target coordinator")]
        for step, victims in self.some(cases, 3):
            back = random.random() < 0.5
            with self.subTest(step=step, victims=victims, back=back):
                fleet, load = self.loaded_fleet()
                self.restart_with(fleet.coordinator, step + ":1:stop")
                fleet.wait_up()
                self.add_shard(fleet)
                self.wait_stopped(fleet.coordinator, step)
                names = {"source": fleet.shards[0], "target": fleet.shards[2],
                         "coordinator": fleet.coordinator}
                dead = [names[name] for name in victims.split()]
                for daemon in dead:
                    daemon.kill()
                if back:
                    for shard in dead:
                        if shard is not fleet.coordinator:
                            shard.start()
                if fleet.coordinator in dead:
                    self.restart_with(fleet.coordinator, "")
                else:
                    fleet.coordinator.thaw()
                for shard in dead:
                    if not shard.running():
                        wait_for(lambda: "down" in fleet.states().values(), "a shard to be missed")
                        shard.start()
                self.again(fleet, load)

    def test_a_move_is_called_off_whoever_dies(self):
        cases = [(step, victim) for step in ("move_before_give_up", "move_before_drop")
                 for victim in ("source", "target", "coordinator")]
        keys = [b"k%d" % n for n in range(4000)]
        for step, victim in self.some(cases, 2):
            with self.subTest(step=step, victim=victim):
                fleet, load = self.loaded_fleet()
                self.restart_with(fleet.coordinator, step + ":1:stop")
                fleet.wait_up()
                with harness.Client(fleet.url) as client:
                    client.ok("mput", [[key, b"x" * 1000] for key in keys])
                    client.ok("rebalance", {"bytes_per_second": 1000})
                    self.add_shard(fleet)
                    wait_for(lambda: any(move["bytes_done"] > 0
                                         for move in client.ok("rebalance")["moves"]), "a frame")
                    client.send("rebalance", {"cancel": True})
                    self.wait_stopped(fleet.coordinator, step)
                if victim == "coordinator":
                    fleet.coordinator.kill()
                    self.restart_with(fleet.coordinator, "")
                else:
                    shard = fleet.shards[0 if victim == "source" else 2]
                    shard.kill()
                    fleet.coordinator.thaw()
                    wait_for(lambda: "down" in fleet.states().values(), "a shard to be missed")
                    shard.start()
                wait_for(lambda: fleet.states() and "down" not in fleet.states().values(),
                         "every shard to be back")
                with harness.Client(fleet.url) as client:
                    client.ok("mdel", keys)
                self.rebalance(fleet, {"pause": False, "bytes_per_second": 0})
                self.again(fleet, load)

    def test_the_map_log_fails_at_any_entry(self):
        """An entry that could not be written is tried again. When nobody knows whether it was, the
        coordinator has to be restarted."""
        cases = [(what, entry) for what in ("write", "sync") for entry in range(4, 12)]
        for what, entry in self.some(cases, 2):
            with self.subTest(what=what, entry=entry):
                fleet = self.fleet(shards=2)
                load = Load(self, [fleet.url], random.random(), writers=2,
                            allowed=(UNAVAILABLE, UNKNOWN, BUSY), timeout=5)
                load.wait_for_progress(100)
                self.restart_with(fleet.coordinator, "maplog_%s:%d:fail" % (what, entry))
                fleet.wait_up()
                self.add_shard(fleet)
                wait_for(lambda: b"could not be recorded" in fleet.coordinator.text(),
                         "the entry to fail", 30)
                if what == "sync":
                    fleet.coordinator.kill()
                    self.restart_with(fleet.coordinator, "")
                self.again(fleet, load)


if __name__ == "__main__":
    harness.main()

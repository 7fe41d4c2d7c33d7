"""Shards merge in turns, and none waits for ever because another one always has work."""

from harness import SystemTest, main, wait_for

KEYS = 6000
VALUE = "v" * 1000


class Turns(SystemTest):
    def states(self, db):
        return [shard["merge_state"] for shard in db.ok("stats")["shards"]]

    def test_a_shard_that_is_not_done_passes_its_turn_on(self):
        # Merges so slow that the first shard would have work for minutes.
        fleet = self.fleet(sync="never", shard_flags=["--file-size", "1M", "--merge-min", "64K",
                                                      "--merge-rate", "64K"])
        db = fleet.client()
        keys = ["k%d" % i for i in range(KEYS)]
        for group in [keys, keys[::2]]:  # half of every file is dead then
            for at in range(0, len(group), 500):
                db.ok("mput", [[key, VALUE] for key in group[at:at + 500]])
        merged, idle = set(), set()

        def look():
            states = self.states(db)
            merged.update(i for i, state in enumerate(states) if state == "merging")
            idle.update(i for i, state in enumerate(states) if i in merged and state == "idle")
            return len(merged) == 2

        wait_for(look, "both shards to have merged")
        self.assertEqual(idle, set(), "nobody was done when the other one began")


if __name__ == "__main__":
    main()

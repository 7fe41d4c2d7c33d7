"""The judges are judged: they pass what a right store can do, and find every wrong answer that is planted
into the history of a right one."""

import os
import random
import unittest

from history import ABSENT as NOTHING, Broken, Chain, Counter, Register, content
from linear import ABSENT, History

SEED = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
UNKNOWN = [8, "unknown"]
ABSENT_REPLY = [1, "not found"]
MISMATCH = [4, "version mismatch"]


def history_of(*steps):
    """Steps in order of time: (name, kind, args...) begins an operation, (name, reply) ends it."""
    history = History()
    ops = {}
    for name, *rest in steps:
        if name in ops:
            history.end(ops[name], rest[0])
        else:
            ops[name] = history.begin(b"key", *rest)
    return history


class Good(unittest.TestCase):
    def test_one_after_the_other(self):
        history_of(("a", "put", 1), ("a", [0, 10]), ("b", "get"), ("b", [0, 1]), ("c", "del"),
                   ("c", [0, True]), ("d", "get"), ("d", ABSENT_REPLY)).check()

    def test_two_at_once_take_effect_in_either_order(self):
        for seen in (1, 2):
            history_of(("a", "put", 1), ("b", "put", 2), ("a", [0, 20 if seen == 1 else 10]),
                       ("b", [0, 10 if seen == 1 else 20]), ("c", "get"), ("c", [0, seen])).check()

    def test_an_unknown_write_may_take_effect_late_or_never(self):
        for seen in ([0, 1], [0, 2]):
            history_of(("a", "put", 1), ("a", [0, 10]), ("b", "put", 2), ("b", UNKNOWN),
                       ("c", "get"), ("c", [0, 1]), ("d", "get"), ("d", seen)).check()

    def test_a_lost_connection_is_an_unknown_outcome(self):
        history_of(("a", "incr", 1), ("a", None), ("b", "incr", 1), ("b", [0, 2])).check()
        history_of(("a", "incr", 1), ("a", None), ("b", "incr", 1), ("b", [0, 1])).check()

    def test_a_refused_write_never_was(self):
        history_of(("a", "put", 1), ("a", [7, "down"]), ("b", "get"), ("b", ABSENT_REPLY)).check()

    def test_conditions_hold_for_the_version_in_place(self):
        history_of(("a", "cas", 0, 1), ("a", [0, 10]), ("b", "cas", 10, 2), ("b", [0, 11]),
                   ("c", "cas", 10, 3), ("c", MISMATCH), ("d", "get"), ("d", [0, 2])).check()

    def test_a_version_nobody_was_told_is_learned_from_meta(self):
        history_of(("a", "put", 1), ("a", UNKNOWN), ("m", "meta"), ("m", [0, {"version": 7}]),
                   ("b", "cas", 7, 2), ("b", [0, 8])).check()


    def test_a_clear_removes_the_key_at_some_moment(self):
        for seen in ([0, 1], ABSENT_REPLY):
            history_of(("a", "put", 1), ("a", [0, 10]), ("c", "clear"), ("g", "get"), ("g", seen),
                       ("c", [0, 5]), ("h", "get"), ("h", ABSENT_REPLY), ("b", "put", 2),
                       ("b", [0, 11])).check()
        history_of(("a", "put", 1), ("a", [0, 10]), ("c", "clear"), ("c", UNKNOWN), ("g", "get"),
                   ("g", [0, 1]), ("h", "get"), ("h", ABSENT_REPLY)).check()


    def test_many_writes_of_unknown_fate(self):
        """The judge's work must not double with each of them."""
        steps = []
        for n in range(12):
            steps += [("p%d" % n, "put", n), ("p%d" % n, UNKNOWN), ("i%d" % n, "incr", 1000),
                      ("i%d" % n, None), ("g%d" % n, "get"), ("g%d" % n, [0, n // 2])]
        history_of(*steps).check()
        with self.assertRaises(Broken):
            history_of(*steps, ("g", "get"), ("g", [0, 2])).check()


class Bad(unittest.TestCase):
    def refuse(self, *steps):
        with self.assertRaises(Broken):
            history_of(*steps).check()

    def test_a_lost_write(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "get"), ("b", ABSENT_REPLY))

    def test_a_stale_read(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "put", 2), ("b", [0, 11]),
                    ("c", "get"), ("c", [0, 1]))

    def test_a_deleted_key_that_comes_back(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "del"), ("b", [0, True]),
                    ("c", "get"), ("c", [0, 1]))

    def test_an_unknown_write_that_goes_away_again(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "put", 2), ("b", UNKNOWN),
                    ("c", "get"), ("c", [0, 2]), ("d", "get"), ("d", [0, 1]))

    def test_an_unknown_increment_that_counts_twice(self):
        self.refuse(("a", "incr", 1), ("a", UNKNOWN), ("b", "incr", 1), ("b", [0, 3]))

    def test_a_refused_write_that_is_there(self):
        self.refuse(("a", "put", 1), ("a", [7, "down"]), ("b", "get"), ("b", [0, 1]))

    def test_two_increments_with_one_result(self):
        self.refuse(("a", "incr", 1), ("b", "incr", 1), ("a", [0, 1]), ("b", [0, 1]))

    def test_a_version_that_is_replaced_twice(self):
        self.refuse(("a", "put", 0), ("a", [0, 10]), ("b", "cas", 10, 1), ("c", "cas", 10, 2),
                    ("b", [0, 11]), ("c", [0, 12]))

    def test_a_version_that_goes_back(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "put", 2), ("b", [0, 9]))

    def test_a_mismatch_where_there_was_none(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "cas", 10, 2), ("b", MISMATCH))

    def test_a_write_that_is_read_before_it_was_begun(self):
        self.refuse(("b", "get"), ("b", [0, 1]), ("a", "put", 1), ("a", [0, 10]))

    def test_a_key_that_comes_back_after_a_clear(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("c", "clear"), ("c", [0, 1]), ("g", "get"),
                    ("g", [0, 1]))

    def test_a_clear_that_was_refused_and_yet_removed_the_key(self):
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("c", "clear"), ("c", [7, "down"]), ("g", "get"),
                    ("g", ABSENT_REPLY))

    def test_an_older_value_that_comes_back_after_a_delete(self):
        """As when slots return to a shard that still has the records of before."""
        self.refuse(("a", "put", 1), ("a", [0, 10]), ("b", "put", 2), ("b", [0, 11]), ("d", "del"),
                    ("d", [0, True]), ("g", "get"), ("g", [0, 1]))

    def test_two_owners_that_both_take_a_condition(self):
        self.refuse(("a", "cas", 0, 1), ("b", "cas", 0, 2), ("a", [0, 10]), ("b", [0, 11]))

    def test_a_sum_from_which_an_increment_is_missing(self):
        self.refuse(("a", "incr", 1), ("a", [0, 1]), ("b", "incr", 1), ("b", [0, 2]), ("g", "get"),
                    ("g", [0, 1]))

    def test_reads_that_see_two_writes_in_turns(self):
        self.refuse(("a", "put", 1), ("b", "put", 2), ("c", "get"), ("c", [0, 1]), ("d", "get"),
                    ("d", [0, 2]), ("e", "get"), ("e", [0, 1]), ("a", [0, 5]), ("b", [0, 6]))


class OneWriter(unittest.TestCase):
    """The judges of history.py."""

    def setUp(self):
        self.register = Register(b"key")

    def put(self, version=1, reply=None):
        number = self.register.begin(True)
        self.register.end(number, reply or [0, version])
        return number

    def found(self, value, low=None):
        self.register.found(self.register.low() if low is None else low, value)

    def refuse(self, function, *args):
        with self.assertRaises(Broken):
            function(*args)

    def test_what_was_acknowledged_is_found(self):
        self.found(content(b"key", self.put()))

    def test_a_lost_write(self):
        self.put()
        self.refuse(self.found, NOTHING)

    def test_an_older_value_that_is_back(self):
        first = self.put(1)
        self.put(2)
        self.refuse(self.found, content(b"key", first))

    def test_a_read_that_began_before_may_find_the_older_value(self):
        first = self.put(1)
        low = self.register.low()
        self.put(2)
        self.found(content(b"key", first), low)

    def test_a_deleted_key_that_is_back(self):
        first = self.put(1)
        self.register.end(self.register.begin(False), [0, True])
        self.found(NOTHING)
        self.refuse(self.found, content(b"key", first))

    def test_an_unknown_write_is_there_or_not_but_does_not_go_again(self):
        first = self.put(1)
        second = self.put(reply=UNKNOWN)
        self.found(content(b"key", first))
        self.found(content(b"key", second))
        self.refuse(self.found, content(b"key", first))

    def test_a_refused_write_that_is_there(self):
        self.refuse(self.found, content(b"key", self.put(reply=[7, "down"])))

    def test_wrong_bytes(self):
        number = self.put()
        value = content(b"key", number)
        value[2] += b"x"
        self.refuse(self.found, value)

    def test_a_version_that_goes_back(self):
        self.put(2)
        self.refuse(self.put, 1)

    def test_counters_are_exact_but_for_unknown_increments(self):
        counter = Counter(b"counter")
        for reply in ([0, 1], UNKNOWN, [0, 3]):
            counter.end(counter.begin(), reply)
        counter.found(counter.low(), 3)
        self.refuse(counter.found, counter.low(), 4)
        self.refuse(counter.found, counter.low(), 2)
        self.refuse(counter.end, counter.begin(), [0, 3])

    def test_no_version_is_replaced_twice_nor_comes_back(self):
        chain = Chain(b"chain")
        chain.end(0, [0, 5])
        chain.end(5, [0, 7])
        chain.found(chain.low(), 7)
        self.refuse(chain.found, chain.low(), 5)
        self.refuse(chain.end, 5, [0, 8])


class Simulation:
    """Clients of a right store whose every step is made at once, at a random moment between begin and
    end."""

    def __init__(self, dice):
        self.dice = dice
        self.history = History()
        self.value, self.version = ABSENT, 0
        self.known = 0  # the newest version that a client was told
        self.clock = 0
        self.flight = []  # [op, reply; None: has not taken effect yet]

    def take_effect(self, op):
        if op.kind == "get":
            return ABSENT_REPLY if self.value is ABSENT else [0, self.value]
        if op.kind == "meta":
            return ABSENT_REPLY if self.value is ABSENT else [0, {"version": self.version}]
        if op.kind == "cas":
            base = 0 if self.value is ABSENT else self.version
            if base != op.args[0]:
                return MISMATCH
        self.clock += 1
        if op.kind == "clear":
            self.value = ABSENT
            return [0, 1]
        if op.kind == "del":
            existed, self.value = self.value is not ABSENT, ABSENT
            return [0, existed]
        self.version = self.clock
        if op.kind == "incr":
            self.value = (0 if self.value is ABSENT else self.value) + op.args[0]
            return [0, self.value]
        self.value = op.args[-1]
        return [0, self.version]

    def begin(self):
        kind = self.dice.choice(["put", "put", "get", "get", "get", "incr", "del", "cas", "meta",
                                 "clear"])
        args = {"put": (self.dice.randrange(1000),), "incr": (self.dice.randrange(1, 9),),
                "cas": (self.dice.choice([0, self.known]), self.dice.randrange(1000))}
        self.flight.append([self.history.begin(b"key", kind, *args.get(kind, ())), None])

    def learn(self, op, reply):
        if reply[0] == 0 and op.kind in ("put", "cas", "meta"):
            self.known = reply[1] if op.kind != "meta" else reply[1]["version"]

    def run(self, steps):
        for _ in range(steps):
            if len(self.flight) < 5 and self.dice.random() < 0.5:
                self.begin()
            elif self.flight:
                entry = self.dice.choice(self.flight)
                if entry[1] is None:
                    entry[1] = self.take_effect(entry[0])
                elif self.dice.random() < 0.04 and entry[0].kind not in ("get", "meta"):
                    self.history.end(entry[0], UNKNOWN)
                    self.flight.remove(entry)
                else:
                    self.history.end(entry[0], entry[1])
                    self.flight.remove(entry)
                    self.learn(*entry)
        return self.history


class Random(unittest.TestCase):
    def setUp(self):
        print("SC_TEST_SEED=%d" % SEED, flush=True)
        self.dice = random.Random(SEED)

    def test_histories_of_a_right_store_pass(self):
        for _ in range(300):
            Simulation(self.dice).run(150).check()

    def test_a_wrong_number_planted_into_a_history_is_found(self):
        for _ in range(200):
            history = Simulation(self.dice).run(150)
            sums = [op for op in history.keys[b"key"] if op.kind == "incr" and op.ended is not None
                    and op.reply[0] == 0]
            if not sums:
                continue
            self.dice.choice(sums).reply[1] += 100000
            with self.assertRaises(Broken):
                history.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)

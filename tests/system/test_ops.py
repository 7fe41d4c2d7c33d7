"""Every request of the wire protocol against a coordinator with two shards: what it answers when
all is well, and every way in which a request can be wrong."""

import random
import struct
import time

import msgpack

import harness
from harness import (BADREQUEST, DENIED, MISMATCH, MOVED, NOTFOUND, OK, SLOTS, TOOLARGE, WRONGTYPE,
                     Client, SharedFleetTest, pack, slot_of)

TTL_MAX = 3155760000000
INT64_MAX = 2 ** 63 - 1
INT64_MIN = -2 ** 63


class OneKey(SharedFleetTest):
    def test_ping_names_the_store(self):
        reply = self.db.call("ping")
        self.assertEqual(reply[:2], [0, "shardcask"])
        self.assertIn("version", reply[2])
        self.assertEqual(reply[2]["role"], "coordinator")

    def test_what_was_put_comes_back_byte_for_byte(self):
        values = [None, True, False, 0, -1, 127, 128, 2 ** 64 - 1, INT64_MIN, 1.5, float("inf"),
                  "", "text", "x" * 300, b"", b"\x00\xff", [], [1, [2, [3]]], {}, {"a": {"b": [1]}},
                  {1: 2, None: 3}, msgpack.ExtType(5, b"ext"), msgpack.Timestamp(1, 2)]
        for number, value in enumerate(values):
            key = b"value-%d" % number
            self.assertEqual(self.db.status("put", key, value), OK)
            body = self.db.wait_body(self.db.send("get", key))
            self.assertEqual(body, b"\x92\x00" + pack(value), value)

    def test_odd_encodings_are_kept_as_they_were_sent(self):
        odd = [b"\xcf" + struct.pack(">Q", 1),  # 1 as uint 64
               b"\xd3" + struct.pack(">q", 1),  # 1 as int 64
               b"\xdb\x00\x00\x00\x01a",  # "a" as str 32
               b"\xdd\x00\x00\x00\x01\xc0",  # [nil] as array 32
               b"\xca\x7f\xc0\x00\x01",  # a NaN with a payload
               b"\xa2\xff\xfe",  # a str that is not UTF-8
               b"\x82\xa1a\x01\xa1a\x02"]  # a map with a key twice
        for number, value in enumerate(odd):
            key = pack(b"odd-%d" % number)
            reply = self.db.call_body(b"\x93\xa3put" + key + value)
            self.assertEqual(reply[0], OK, reply)
            body = self.db.wait_body(self.db.send_body(b"\x92\xa3get" + key))
            self.assertEqual(body, b"\x92\x00" + value)

    def test_str_and_bin_of_the_same_bytes_are_one_key(self):
        self.db.ok("put", "one", 1)
        self.assertEqual(self.db.ok("get", b"one"), 1)
        self.db.ok("put", b"one", 2)
        self.assertEqual(self.db.ok("get", "one"), 2)
        self.assertEqual(self.db.ok("count"), 1)
        # In any width of head too.
        self.assertEqual(self.db.call_body(b"\x92\xa3get\xc6\x00\x00\x00\x03one"), [0, 2])
        self.assertEqual(self.db.call_body(b"\xdc\x00\x02\xd9\x03get\xdb\x00\x00\x00\x03one"), [0, 2])

    def test_versions_grow(self):
        versions = [self.db.ok("put", "k", n) for n in range(50)]
        self.assertEqual(versions, sorted(set(versions)))
        self.assertGreater(versions[0], 1_600_000_000_000_000)
        self.assertEqual(self.db.ok("meta", "k")["version"], versions[-1])

    def test_absent_keys(self):
        for request in (["get", "nope"], ["meta", "nope"], ["touch", "nope", 1000],
                        ["touch", "nope", None]):
            self.assertEqual(self.db.status(*request), NOTFOUND, request)
        self.assertEqual(self.db.call("exists", "nope"), [0, False])
        self.assertEqual(self.db.call("del", "nope"), [0, False])

    def test_del_says_whether_it_was_there(self):
        self.db.ok("put", "k", 1)
        self.assertEqual(self.db.call("del", "k"), [0, True])
        self.assertEqual(self.db.call("del", "k"), [0, False])
        self.assertEqual(self.db.status("get", "k"), NOTFOUND)
        self.assertEqual(self.db.call("exists", "k"), [0, False])

    def test_keys_of_every_allowed_size(self):
        for size in (1, 2, 31, 32, 255, 256, 65534, 65535):
            key = bytes([size % 251]) * size
            self.db.ok("put", key, size)
            self.assertEqual(self.db.ok("get", key), size)
        for op in (["get"], ["put", 1], ["del"], ["exists"], ["meta"], ["touch", 5], ["incr"]):
            name, rest = op[0], op[1:]
            self.assertEqual(self.db.status(name, b"", *rest), BADREQUEST, op)
            self.assertEqual(self.db.status(name, b"x" * 65536, *rest), TOOLARGE, op)

    def test_values_up_to_the_limit(self):
        limit = 16 << 20
        head = 5  # bin 32
        largest = bytes(limit - head)
        self.db.ok("put", "large", largest)
        self.assertEqual(self.db.ok("get", "large"), largest)
        self.assertEqual(self.db.ok("meta", "large")["size"], limit)
        self.assertEqual(self.db.status("put", "large", bytes(limit - head + 1)), TOOLARGE)
        self.assertEqual(self.db.ok("get", "large"), largest)

    def test_nesting_up_to_128(self):
        def nested(depth, inner=b"\xc0"):
            return b"\x91" * depth + inner
        key = pack(b"deep")
        self.assertEqual(self.db.call_body(b"\x93\xa3put" + key + nested(128))[0], OK)
        body = self.db.wait_body(self.db.send("get", b"deep"))
        self.assertEqual(body, b"\x92\x00" + nested(128))
        self.assertEqual(self.db.call_body(b"\x93\xa3put" + key + nested(129))[0], BADREQUEST)
        self.assertEqual(self.db.call_body(b"\x93\xa3put" + key + b"\x81\x01" * 128 + b"\xc0")[0], OK)
        self.assertEqual(self.db.call_body(b"\x93\xa3put" + key + nested(100000))[0], BADREQUEST)

    def test_meta(self):
        version = self.db.ok("put", "k", {"a": 1})
        meta = self.db.ok("meta", "k")
        self.assertEqual(meta["version"], version)
        self.assertEqual(meta["size"], len(pack({"a": 1})))
        self.assertIsNone(meta["ttl_ms"])
        self.assertEqual(meta["slot"], slot_of(b"k"))
        self.assertEqual(meta["shard"], self.fleet.shard_of(b"k"))
        self.assertEqual(set(meta), {"version", "size", "ttl_ms", "slot", "shard"})

    def test_incr(self):
        self.assertEqual(self.db.ok("incr", "n"), 1)
        self.assertEqual(self.db.ok("incr", "n"), 2)
        self.assertEqual(self.db.ok("incr", "n", 40), 42)
        self.assertEqual(self.db.ok("incr", "n", -50), -8)
        self.assertEqual(self.db.ok("get", "n"), -8)
        self.assertEqual(self.db.ok("incr", "n", 0), -8)
        self.assertEqual(self.db.ok("incr", "other", INT64_MIN), INT64_MIN)

    def test_incr_refuses_what_it_cannot_do(self):
        for value in ("1", 1.0, None, True, [1], b"1", 2 ** 63, 2 ** 64 - 1):
            self.db.ok("put", "k", value)
            self.assertEqual(self.db.status("incr", "k"), WRONGTYPE, value)
            self.assertEqual(self.db.ok("get", "k"), value)
        self.db.ok("put", "k", INT64_MAX)
        self.assertEqual(self.db.status("incr", "k"), WRONGTYPE)
        self.assertEqual(self.db.ok("incr", "k", -1), INT64_MAX - 1)
        self.db.ok("put", "k", INT64_MIN)
        self.assertEqual(self.db.status("incr", "k", -1), WRONGTYPE)
        for delta in (2 ** 63, 2 ** 64 - 1, 1.5, "1", None):
            self.assertEqual(self.db.status("incr", "k", delta), BADREQUEST, delta)

    def test_incr_takes_an_integer_of_any_width(self):
        self.db.call_body(b"\x93\xa3put\xa1k\xcf" + struct.pack(">Q", 5))
        self.assertEqual(self.db.ok("incr", "k"), 6)
        self.db.call_body(b"\x93\xa3put\xa1k\xd3" + struct.pack(">q", -5))
        self.assertEqual(self.db.ok("incr", "k"), -4)

    def test_if_version(self):
        self.assertEqual(self.db.status("put", "k", 1, {"if_version": 5}), MISMATCH)
        version = self.db.ok("put", "k", 1, {"if_version": 0})
        self.assertEqual(self.db.status("put", "k", 2, {"if_version": 0}), MISMATCH)
        self.assertEqual(self.db.status("put", "k", 2, {"if_version": version + 1}), MISMATCH)
        self.assertEqual(self.db.ok("get", "k"), 1)
        newer = self.db.ok("put", "k", 2, {"if_version": version})
        self.assertEqual(self.db.status("del", "k", {"if_version": version}), MISMATCH)
        self.assertEqual(self.db.status("del", "k", {"if_version": 0}), MISMATCH)
        self.assertEqual(self.db.call("del", "k", {"if_version": newer}), [0, True])
        self.assertEqual(self.db.status("del", "k", {"if_version": newer}), MISMATCH)
        self.assertEqual(self.db.call("del", "k", {"if_version": 0}), [0, False])

    def test_sync_option(self):
        for sync in (True, False):
            self.db.ok("put", "k", 1, {"sync": sync})
        self.assertEqual(self.db.status("put", "k", 1, {"sync": 1}), BADREQUEST)


class Expiry(SharedFleetTest):
    def gone(self, key):
        harness.wait_for(lambda: self.db.status("get", key) == NOTFOUND, "the key to expire")

    def test_an_expired_key_is_absent_for_everything(self):
        self.db.ok("put", "short", 7, {"ttl_ms": 50})
        self.db.ok("put", "long", 8, {"ttl_ms": 1_000_000})
        self.gone("short")
        self.assertEqual(self.db.call("exists", "short"), [0, False])
        self.assertEqual(self.db.status("meta", "short"), NOTFOUND)
        self.assertEqual(self.db.status("touch", "short", 1000), NOTFOUND)
        self.assertEqual(self.db.ok("mget", ["short", "long"])[0][0], NOTFOUND)
        self.assertEqual(self.db.ok("count"), 1)
        self.assertEqual(self.db.scan(), [b"long"])
        self.assertEqual(self.db.call("del", "short"), [0, False])
        self.db.ok("put", "short", 1, {"ttl_ms": 50})
        self.gone("short")
        self.assertEqual(self.db.ok("incr", "short", 5), 5)
        self.db.ok("put", "short", 1, {"ttl_ms": 50})
        self.gone("short")
        self.db.ok("put", "short", 2, {"if_version": 0})

    def test_an_expiry_may_be_given_as_a_time(self):
        now_ms = int(time.time() * 1000)
        self.db.ok("put", "k", 1, {"expires_ms": now_ms + 100_000})
        left = now_ms + 100_000 - int(time.time() * 1000)
        self.assertTrue(left - 1000 <= self.db.ok("meta", "k")["ttl_ms"] <= 100_000)
        self.db.ok("put", "k", 1, {"expires_ms": now_ms + TTL_MAX - 100_000})
        for bad in (0, -1, 1.5, "5", None, now_ms + TTL_MAX + 100_000, 2 ** 64 - 1):
            self.assertEqual(self.db.status("put", "k", 1, {"expires_ms": bad}), BADREQUEST, bad)
        self.assertEqual(self.db.status("put", "k", 1, {"expires_ms": now_ms, "ttl_ms": 1}),
                         BADREQUEST)
        self.db.ok("put", "k", 2, {"expires_ms": now_ms - 1})  # over: the key is gone at once
        self.assertEqual(self.db.status("get", "k"), NOTFOUND)
        self.assertEqual(self.db.ok("count"), 0)

    def test_ttl_is_told_and_bounded(self):
        self.db.ok("put", "k", 1, {"ttl_ms": 100_000})
        self.assertTrue(0 < self.db.ok("meta", "k")["ttl_ms"] <= 100_000)
        for ttl in (1, TTL_MAX):
            self.db.ok("put", "other", 1, {"ttl_ms": ttl})
        self.db.ok("touch", "k", TTL_MAX)
        self.assertGreater(self.db.ok("meta", "k")["ttl_ms"], TTL_MAX - 100_000)
        for ttl in (0, -1, TTL_MAX + 1, 2 ** 64 - 1, 1.5, "5", None):
            self.assertEqual(self.db.status("put", "k", 1, {"ttl_ms": ttl}), BADREQUEST, ttl)
            if ttl is not None:
                self.assertEqual(self.db.status("touch", "k", ttl), BADREQUEST, ttl)

    def test_put_clears_and_incr_keeps_the_expiry(self):
        self.db.ok("put", "k", 1, {"ttl_ms": 100_000})
        self.db.ok("incr", "k")
        self.assertIsNotNone(self.db.ok("meta", "k")["ttl_ms"])
        self.db.ok("put", "k", 1)
        self.assertIsNone(self.db.ok("meta", "k")["ttl_ms"])

    def test_touch_sets_and_removes_the_expiry(self):
        first = self.db.ok("put", "k", "value")
        second = self.db.ok("touch", "k", 100_000)
        self.assertGreater(second, first)
        meta = self.db.ok("meta", "k")
        self.assertEqual(meta["version"], second)
        self.assertTrue(0 < meta["ttl_ms"] <= 100_000)
        third = self.db.ok("touch", "k", None)
        self.assertGreater(third, second)
        self.assertIsNone(self.db.ok("meta", "k")["ttl_ms"])
        self.assertEqual(self.db.ok("get", "k"), "value")
        self.db.ok("touch", "k", 1)
        self.gone("k")


class ManyKeys(SharedFleetTest):
    def test_mput_mget_mdel_answer_in_order(self):
        keys = [b"key-%d" % n for n in range(1000)]
        replies = self.db.ok("mput", [[k, n] for n, k in enumerate(keys)])
        self.assertTrue(all(r[0] == OK and r[1] > 0 for r in replies))
        self.assertEqual(self.db.ok("count"), 1000)
        mixed = keys[:500] + [b"absent"] + keys[500:]
        replies = self.db.ok("mget", mixed)
        self.assertEqual([r[1] for r in replies if r[0] == OK], list(range(1000)))
        self.assertEqual(replies[500][0], NOTFOUND)
        self.assertIsInstance(replies[500][1], str)
        replies = self.db.ok("mdel", mixed)
        self.assertEqual(replies, [[0, True]] * 500 + [[0, False]] + [[0, True]] * 500)
        self.assertEqual(self.db.ok("count"), 0)

    def test_empty_lists(self):
        for op in ("mget", "mput", "mdel", "batch"):
            self.assertEqual(self.db.call(op, []), [0, []], op)

    def test_options_in_mput(self):
        replies = self.db.ok("mput", [["a", 1, {"ttl_ms": 100_000}], ["b", 2, {"if_version": 0}],
                                      ["b", 3, {"if_version": 0}], ["c", 4, {}]])
        self.assertEqual([r[0] for r in replies], [OK, OK, MISMATCH, OK])
        self.assertIsNotNone(self.db.ok("meta", "a")["ttl_ms"])
        self.assertEqual(self.db.ok("get", "b"), 2)

    def test_a_bad_item_fails_alone(self):
        replies = self.db.ok("mput", [["a", 1], ["", 1], [b"x" * 65536, 1], ["b"], "no", ["c", 1, None],
                                      ["d", 1, {"unknown": 1}], ["e", 1, {}, 1], [5, 1], ["f", 2]])
        self.assertEqual([r[0] for r in replies],
                         [OK, BADREQUEST, TOOLARGE] + [BADREQUEST] * 6 + [OK])
        for reply in replies:
            self.assertTrue(reply[0] == OK or reply[1])
        replies = self.db.ok("mget", ["a", "", 7, None, b"x" * 65536, "f"])
        self.assertEqual([r[0] for r in replies],
                         [OK, BADREQUEST, BADREQUEST, BADREQUEST, TOOLARGE, OK])
        replies = self.db.ok("mdel", ["a", "", [], "f"])
        self.assertEqual([r[0] for r in replies], [OK, BADREQUEST, BADREQUEST, OK])

    def test_batch_of_everything(self):
        replies = self.db.ok("batch", [["put", "a", 5], ["get", "a"], ["incr", "a", 2], ["get", "a"],
                                       ["exists", "a"], ["touch", "a", 100_000], ["meta", "a"],
                                       ["del", "a"], ["get", "a"], ["exists", "a"], ["incr", "a"]])
        self.assertEqual([r[0] for r in replies], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
        self.assertEqual([replies[i][1] for i in (1, 2, 3, 4, 7, 9, 10)], [5, 7, 7, True, True, False, 1])

    def test_operations_on_one_key_take_effect_in_order(self):
        requests = []
        for n in range(300):
            requests += [["put", "x%d" % (n % 7), n], ["get", "x%d" % (n % 7)]]
        replies = self.db.ok("batch", requests)
        self.assertEqual([r[1] for r in replies[1::2]], list(range(300)))
        replies = self.db.ok("mput", [["same", n] for n in range(100)])
        self.assertEqual(self.db.ok("get", "same"), 99)
        replies = self.db.ok("mdel", ["same", "same"])
        self.assertEqual(replies, [[0, True], [0, False]])

    def test_what_may_not_stand_in_a_batch(self):
        bad = [["mget", ["a"]], ["batch", []], ["mput", []], ["mdel", []], ["scan", None], ["count"],
               ["clear"], ["ping"], ["stats"], ["map"], ["sync"], ["compact"], ["scrub"], ["damage"],
               ["shard.add", "x"],
               ["nonsense"], [], "get", 5, None, ["get"], ["get", "a", "b"], [5, "a"]]
        replies = self.db.ok("batch", bad + [["put", "k", 1]])
        self.assertEqual([r[0] for r in replies], [BADREQUEST] * len(bad) + [OK])

    def test_an_item_whose_reply_does_not_fit_gets_3(self):
        size = 12 << 20
        for n in range(7):
            self.db.ok("put", "big-%d" % n, bytes(size))
        replies = self.db.ok("mget", ["big-%d" % n for n in range(7)] + ["big-0"])
        statuses = [r[0] for r in replies]
        self.assertEqual(set(statuses), {OK, TOOLARGE})
        self.assertGreaterEqual(statuses.count(OK), 4)
        replies = self.db.ok("batch", [["get", "big-%d" % n] for n in range(7)])
        self.assertEqual(set(r[0] for r in replies), {OK, TOOLARGE})


class Scans(SharedFleetTest):
    def fill(self, count, prefix=b"k"):
        keys = [prefix + b"%d" % n for n in range(count)]
        for start in range(0, count, 1000):
            self.db.ok("mput", [[k, k] for k in keys[start:start + 1000]])
        return keys

    def test_every_key_comes_once(self):
        keys = self.fill(5000)
        for limit in (1, 7, 1000, 10000):
            if limit == 1:
                found = self.db.scan(limit=1, prefix=b"k49")
                expected = [k for k in keys if k.startswith(b"k49")]
            else:
                found, expected = self.db.scan(limit=limit), keys
            self.assertEqual(sorted(found), sorted(expected))
        self.assertTrue(all(isinstance(k, bytes) for k in found))
        self.assertEqual(sorted(self.db.scan()), sorted(keys))

    def test_limit_bounds_a_page(self):
        self.fill(3000)
        self.assertLessEqual(len(self.db.call("scan", None)[2]), 1000)
        self.assertLessEqual(len(self.db.call("scan", None, {"limit": 10})[2]), 10)

    def test_prefix(self):
        self.fill(100, b"apple-")
        self.fill(100, b"banana-")
        self.assertEqual(len(self.db.scan(prefix=b"apple-")), 100)
        self.assertEqual(len(self.db.scan(prefix="banana-1")), 11)
        self.assertEqual(self.db.scan(prefix=b"cherry"), [])
        self.assertEqual(len(self.db.scan(prefix=b"")), 200)

    def test_values(self):
        keys = self.fill(300)
        found = self.db.scan(values=True)
        self.assertEqual(sorted(map(tuple, found)), sorted((k, k) for k in keys))
        self.assertEqual(sorted(self.db.scan(values=False)), sorted(keys))

    def test_large_values_make_short_pages(self):
        for n in range(12):
            self.db.ok("put", "big-%d" % n, bytes(8 << 20))
        found = self.db.scan(values=True, limit=10000)
        self.assertEqual(sorted(k for k, _ in found), sorted(b"big-%d" % n for n in range(12)))

    def test_an_empty_store(self):
        self.assertEqual(self.db.scan(), [])

    def test_keys_present_throughout_come_while_others_change(self):
        keys = self.fill(4000)
        cursor, found, step = None, [], 0
        while True:
            reply = self.db.call("scan", cursor, {"limit": 100})
            found += reply[2]
            cursor = reply[1]
            if cursor is None:
                break
            step += 1
            self.db.ok("mput", [[b"new-%d-%d" % (step, n), 0] for n in range(50)])
            self.db.ok("mdel", [b"new-%d-%d" % (step - 1, n) for n in range(50)])
        self.assertTrue(set(keys) <= set(found))

    def test_bad_scans(self):
        for request in (["scan"], ["scan", 5], ["scan", "text"], ["scan", b"none"],
                        ["scan", None, None], ["scan", None, {}, 1], ["scan", None, {"limit": 0}],
                        ["scan", None, {"limit": 10001}], ["scan", None, {"limit": -1}],
                        ["scan", None, {"limit": "5"}], ["scan", None, {"prefix": 5}],
                        ["scan", None, {"values": 1}], ["scan", None, {"what": 1}],
                        ["scan", {"a": 1}], ["scan", b"\xff" * 200]):
            self.assertEqual(self.db.status(*request), BADREQUEST, request)

    def test_count_and_clear(self):
        self.fill(2500)
        self.assertEqual(self.db.ok("count"), 2500)
        self.assertEqual(self.db.ok("clear"), 2500)
        self.assertEqual(self.db.ok("count"), 0)
        self.assertEqual(self.db.ok("clear"), 0)
        self.assertEqual(self.db.scan(), [])
        self.db.ok("put", "again", 1)
        self.assertEqual(self.db.ok("get", "again"), 1)


class Whole(SharedFleetTest):
    def test_map_covers_every_slot_once(self):
        cluster = self.db.ok("map")
        self.assertEqual(cluster["slots"], SLOTS)
        self.assertGreaterEqual(cluster["epoch"], 1)
        self.assertEqual([s["id"] for s in cluster["shards"]], [1, 2])
        self.assertEqual([s["url"] for s in cluster["shards"]], [s.url for s in self.fleet.shards])
        self.assertEqual({s["state"] for s in cluster["shards"]}, {"up"})
        ranges = sorted(cluster["ranges"])
        at = 0
        for first, last, owner in ranges:
            self.assertEqual(first, at)
            self.assertGreaterEqual(last, first)
            self.assertIn(owner, (1, 2))
            at = last + 1
        self.assertEqual(at, SLOTS)
        per_shard = [sum(l - f + 1 for f, l, o in ranges if o == owner) for owner in (1, 2)]
        self.assertLessEqual(abs(per_shard[0] - per_shard[1]), 1)

    def test_stats_is_a_map(self):
        self.db.ok("put", "k", 1)
        self.assertIsInstance(self.db.ok("stats"), dict)

    def test_sync_and_compact_answer_with_nothing(self):
        self.assertEqual(self.db.call("sync"), [0])
        self.assertEqual(self.db.call("compact"), [0])

    def test_wrong_arity(self):
        for request in (["ping", 1], ["get"], ["get", "a", 1], ["put", "a"], ["put", "a", 1, {}, 1],
                        ["del"], ["del", "a", {}, 1], ["exists"], ["exists", "a", 1], ["meta"],
                        ["meta", "a", {}], ["touch", "a"], ["touch", "a", 1, 1], ["incr"],
                        ["incr", "a", 1, 1], ["mget"], ["mget", [], []], ["mput"], ["mput", [], 1],
                        ["mdel"], ["batch"], ["batch", [], 1], ["count", 1], ["clear", 1],
                        ["stats", 1], ["map", 1], ["sync", 1], ["compact", 1], ["scrub", 1],
                        ["damage", 1], ["shard.add"],
                        ["shard.remove"], ["rebalance", {}, 1]):
            self.assertEqual(self.db.status(*request), BADREQUEST, request)

    def test_wrong_types(self):
        for request in (["get", 5], ["get", None], ["get", ["a"]], ["put", 1, 1], ["put", "a", 1, None],
                        ["put", "a", 1, []], ["put", "a", 1, "ttl"], ["del", "a", None],
                        ["mget", "a"], ["mget", None], ["mput", {}], ["mdel", 5], ["batch", "x"],
                        ["touch", "a", "b"], ["shard.add", 5], ["shard.remove", "one"],
                        ["rebalance", None], ["rebalance", {"what": 1}], ["rebalance", {"pause": 1}]):
            self.assertEqual(self.db.status(*request), BADREQUEST, request)

    def test_unknown_options_and_operations(self):
        self.db.ok("put", "a", 1)
        for request in (["put", "a", 2, {"ttl": 5}], ["put", "a", 2, {"ttl_ms": 5, "more": 1}],
                        ["put", "a", 2, {5: 1}], ["del", "a", {"ttl_ms": 5}], ["del", "a", {"x": 1}],
                        ["nonsense"], [""], ["GET", "a"], ["get ", "a"], ["x.nonsense"]):
            self.assertEqual(self.db.status(*request), BADREQUEST, request)
        self.assertEqual(self.db.ok("get", "a"), 1)

    def test_bodies_that_are_no_request(self):
        for body in (b"", b"\xc1", b"\xc0", b"\x05", b"\xa3get", b"\x90", b"\x91\x05", b"\x91\xc0",
                     b"\x80", b"\x92\xa3get", b"\x92\xa3get\xa5ab", b"\xdd\xff\xff\xff\xff",
                     b"\x92\xa3get\xa1a\x00", b"\xdf\xff\xff\xff\xff\x01", b"\xc9\xff\xff\xff\xff\x01",
                     b"\x93\xa3put\xa1a\xc1", b"\x93\xa3put\xa1a\xdd\x08\x00\x00\x00"):
            reply = self.db.call_body(body)
            self.assertEqual(reply[0], BADREQUEST, body)
            self.assertTrue(reply[1])

    def test_many_requests_in_flight_are_matched_by_their_ids(self):
        ids = [(self.db.send("put", b"p-%d" % n, n), n) for n in range(2000)]
        random.Random(1).shuffle(ids)
        for request_id, _ in ids:
            self.assertEqual(self.db.wait(request_id)[0], OK)
        ids = [(self.db.send("get", b"p-%d" % n), n) for n in range(2000)]
        random.Random(2).shuffle(ids)
        for request_id, n in ids:
            self.assertEqual(self.db.wait(request_id), [0, n])

    def test_hop_words_are_echoed(self):
        hops = b"\x00\x00\x00\x07\x12\x34\x56\x78"
        self.db.send_raw(self.db.frame(hops + b"\x80\x00\x00\x09" + pack(["ping"])))
        size = struct.unpack(">Q", self.db.read(8))[0]
        payload = self.db.read(size)
        self.assertTrue(payload.startswith(hops + b"\x80\x00\x00\x09\x93\x00\xa9shardcask"), payload)

    def test_both_listeners_serve(self):
        with Client(self.fleet.ipc) as other:
            other.ok("put", "via", "ipc")
        self.assertEqual(self.db.ok("get", "via"), "ipc")


class Shards(SharedFleetTest):
    """The same protocol spoken to a shard directly."""

    def test_a_shard_serves_its_slots_and_answers_6_for_others(self):
        mine, other = self.fleet.keys_of(1, 20), self.fleet.keys_of(2, 5)
        with Client(self.fleet.shards[0].url) as shard:
            self.assertEqual(shard.call("ping")[:2], [0, "shardcask"])
            for key in mine:
                shard.ok("put", key, "direct")
                self.assertEqual(self.db.ok("get", key), "direct")
            for key in other:
                for request in (["get", key], ["put", key, 1], ["del", key], ["exists", key],
                                ["meta", key], ["incr", key], ["touch", key, 5]):
                    reply = shard.call(*request)
                    self.assertEqual(reply[0], MOVED, request)
                    self.assertEqual(len(reply), 4)
                    self.assertEqual(reply[2], self.db.ok("map")["epoch"])
                    self.assertIn(reply[3], ("", self.fleet.shards[1].url))
            replies = shard.ok("mget", mine + other)
            self.assertEqual([r[0] for r in replies], [OK] * 20 + [MOVED] * 5)
            self.assertEqual(shard.ok("count"), 20)
            self.assertEqual(sorted(shard.scan()), sorted(mine))
            self.assertIsInstance(shard.ok("map"), dict)
            self.assertIsInstance(shard.ok("stats"), dict)
            self.assertEqual(shard.ok("clear"), 20)

    def test_a_shard_does_not_administer(self):
        with Client(self.fleet.shards[0].url) as shard:
            for request in (["shard.add", "tcp://127.0.0.1:9"], ["shard.remove", 1], ["rebalance"]):
                self.assertEqual(shard.status(*request), DENIED, request)


if __name__ == "__main__":
    harness.main()

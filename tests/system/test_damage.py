"""Bytes on the disks of a running fleet change. What is damaged is told, everywhere and always; nothing
else is."""

import glob
import json

import harness
from harness import CORRUPT, SystemTest, shardcask


class Damage(SystemTest):
    def spoil(self, fleet, value):
        """Changes a byte of `value`, which stands once in the data files of the fleet."""
        for path in glob.glob(fleet.dir + "/shard-*/*.data"):
            with open(path, "r+b") as data:
                content = data.read()
                at = content.find(value)
                if at >= 0:
                    self.assertEqual(content.count(value), 1)
                    data.seek(at + len(value) // 2)
                    byte = content[at + len(value) // 2]
                    data.seek(at + len(value) // 2)
                    data.write(bytes([byte ^ 0x20]))
                    return
        self.fail("%r is in no data file" % value)


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


if __name__ == "__main__":
    harness.main()

#!/usr/bin/python3
"""Makes NAME.expected out of NAME.expected.jsonl, the exact content of a sample in readable form.

    expected.py NAME.expected.jsonl > NAME.expected

Read is one JSON object a line: "key_hex"; "value" (JSON), "value_text" (JSON as Python writes it) or
"value_hex" (bytes); "expire_ms" (Unix time), "db", "left_out" (the kind, of a key that cannot be
imported). Written is one line a key, sorted: XXH3 of the key; XXH3 of the value as msgpack, or "-"
when it is left out; the expiry or 0; the database or 0; the kind.
"""
import json
import sys

import msgpack
import xxhash


def line(text):
    entry = json.loads(text)
    if "value_hex" in entry:
        value = bytes.fromhex(entry["value_hex"])
    elif "value_text" in entry:
        value = json.loads(entry["value_text"])
    else:
        value = entry["value"]
    left_out = entry.get("left_out", "")
    digest = "-" if left_out else xxhash.xxh3_64_hexdigest(msgpack.packb(value, use_bin_type=True))
    key = xxhash.xxh3_64_hexdigest(bytes.fromhex(entry["key_hex"]))
    return " ".join([key, digest, str(entry.get("expire_ms", 0)), str(entry.get("db", 0)),
                     left_out]).rstrip()


with open(sys.argv[1], encoding="utf-8") as source:
    print("\n".join(sorted(map(line, source))))

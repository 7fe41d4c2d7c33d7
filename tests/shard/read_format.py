#!/usr/bin/python3
"""Reads the directory of a shard, written from docs/FORMAT.md alone: read_format.py DIR.

Prints a line for each live key in the order of hash and key: key and value in hex, version,
whether it expires. A key whose value is lost has "corrupt" for it. What is wrong goes to standard
error. With --hints it also checks every hint against its data file.
"""

import os
import struct
import sys
import time

import xxhash

HEADER = 64
LIMIT = 1 << 26


def xxh3(data, seed=0):
    return xxhash.xxh3_64_intdigest(data, seed)


def low(number):
    return number & 0xFFFFFFFF


def complain(text):
    print(text, file=sys.stderr)


class Manifest:
    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        version, body = self.copy(data) or self.copy(data[len(data) // 2 :]) or (0, None)
        if body is None:
            sys.exit(f"{path} is damaged")
        self.cluster, self.shard, adopted = struct.unpack_from("<16sII", body, 0)
        self.adopted = adopted == 1
        self.term, self.epoch, self.next = struct.unpack_from("<QQQ", body, 24)
        files, voids, ranges, discarded = struct.unpack_from("<IIII", body, 48)
        self.floor = 0
        behind = 0  # bytes that follow the lists
        at = 64
        if version > 1:
            self.floor, _, _, _, *marks, _, cursor = struct.unpack_from("<QQBBHHHI", body, 64)
            behind = sum(marks) + cursor
            at = 104
        self.files = []
        for _ in range(files):
            self.files.append(struct.unpack_from("<QQQ", body, at))
            at += 32
        self.voids = {}
        for _ in range(voids):
            number, offset, size = struct.unpack_from("<QQQ", body, at)
            self.voids.setdefault(number, []).append((offset, size))
            at += 24
        self.fences = {}
        self.arriving = set()
        for _ in range(ranges):
            first, last, state = struct.unpack_from("<HHB", body, at)
            fence = struct.unpack_from("<QQ", body, at + 16)
            slots = range(first, last + 1)
            if state == 2:
                self.arriving.update(slots)
            if state == 3:
                fence = (1 << 64, 0)
            if fence[0] != 0:
                self.fences.update((slot, fence) for slot in slots)
            at += 32
        at += 8 * discarded + behind
        if at != len(body):
            sys.exit(f"{path} has {len(body) - at} bytes too many")

    @staticmethod
    def copy(data):
        """Format version and body of a copy, if it is good."""
        if len(data) < 24 or data[:8] != b"SCASKMAN":
            return None
        version, size, checksum = struct.unpack_from("<IIQ", data, 8)
        body = data[24 : 24 + size]
        seed = size if version == 1 else size + (version << 32)
        good = version in (1, 2) and len(body) == size and xxh3(body, seed) == checksum
        return (version, body) if good else None


def boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except OSError:
        return None


def durable_copy(data):
    """(sequence, the copy) or None."""
    if data[:8] != b"SCASKDUR":
        return None
    size = {1: 64, 2: 72}.get(int.from_bytes(data[8:12], "little"))
    if size is None or len(data) < size + 8 or xxh3(data[:size]) != struct.unpack_from("<Q", data, size)[0]:
        return None
    return (struct.unpack_from("<Q", data, 64)[0] if size == 72 else 0, data)


def durable_mark(path):
    """The (file, offset) that counts."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return (0, 0)
    copies = [copy for copy in (durable_copy(data[:80]), durable_copy(data[128:])) if copy]
    if not copies:
        if data:
            complain("DURABLE is damaged")
        return (0, 0)
    _, copy = max(copies, key=lambda copy: copy[0])
    same_boot = copy[48:64] == boot_id()
    return struct.unpack_from("<QQ", copy, 32 if same_boot else 16)


class Record:
    """What stands at an offset; None from `at` when no whole header and key do."""

    def __init__(self, data, offset, fields):
        self.offset = offset
        self.checksum, self.version, self.expiry, self.value_size, key_size, self.kind = fields
        key_end = offset + 32 + key_size
        self.key = data[offset + 32 : key_end]
        self.value = data[key_end : key_end + self.value_size]
        self.end = offset + (32 + key_size + self.value_size + 7) // 8 * 8
        self.lost = self.kind == 1 and self.value_size == 0 and self.checksum == low(xxh3(b"")) ^ 0xFFFFFFFF
        self.whole = self.end <= len(data) and (self.lost or low(xxh3(self.value)) == self.checksum)

    @classmethod
    def at(cls, data, offset, salt):
        if offset + 32 > len(data):
            return None
        header, value, version, expiry, value_size, key_size, kind, zero = struct.unpack_from(
            "<IIQQIHBB", data, offset
        )
        if kind not in (1, 2, 3) or zero != 0 or key_size == 0:
            return None
        if kind != 1 and (value_size != 0 or expiry != 0):
            return None
        end = offset + 32 + key_size
        if end > len(data) or (32 + key_size + value_size + 7) // 8 * 8 >= LIMIT:
            return None
        if low(xxh3(data[offset + 4 : end], salt ^ offset)) != header:
            return None
        return cls(data, offset, (value, version, expiry, value_size, key_size, kind))


def walk(name, data, salt, mark, voids):
    """Yields the records that count if their version does."""
    offset = HEADER
    voids = sorted(voids)
    while offset < len(data):
        over = [start + size for start, size in voids if start <= offset < start + size]
        if over:
            offset = max(over)
            continue
        record = Record.at(data, offset, salt)
        if record is None:
            start = offset
            while offset < len(data) and record is None and not (
                offset > start and any(at == offset for at, _ in voids)
            ):
                offset += 8
                record = Record.at(data, offset, salt)
            offset = min(offset, len(data))
            kind = "a loss" if start < mark else "the trace of a crash"
            complain(f"{name}: {offset - start} bytes at {start} are damaged, {kind}")
            continue
        if record.whole or record.offset < mark:
            yield record
        if not record.whole:
            complain(f"{name}: the value of the record at {record.offset} is damaged")
        offset = record.end


def mark_of(number, settled, size, durable):
    if settled:
        return settled
    if number == durable[0]:
        return durable[1]
    return size if number < durable[0] else 0


def check_header(name, data, number, salt):
    good = (
        len(data) >= HEADER
        and data[:8] == b"SCASKDAT"
        and xxh3(data[:56]) == struct.unpack_from("<Q", data, 56)[0]
        and struct.unpack_from("<I", data, 8)[0] == 1
        and struct.unpack_from("<QQ", data, 32) == (number, salt)
    )
    if not good:
        complain(f"{name}: its header is damaged")


def check_hint(path, data, number, salt, records):
    """A hint must tell exactly of the records up to where it covers."""
    with open(path, "rb") as file:
        hint = file.read()
    assert hint[:8] == b"SCASKHNT" and xxh3(hint[:80]) == struct.unpack_from("<Q", hint, 80)[0]
    fields = struct.unpack_from("<QQQQQQQQ", hint, 16)
    of, its_salt, covered, count, deletions, smallest, largest, size = fields
    assert (of, its_salt, size) == (number, salt, len(hint)) and covered <= len(data)
    entries = []
    at = 88
    while at < len(hint):
        block_size, block_count, checksum = struct.unpack_from("<IIQ", hint, at)
        block = hint[at + 16 : at + 16 + block_size]
        assert len(block) == block_size and xxh3(block, salt ^ at) == checksum
        inside = 0
        for _ in range(block_count):
            version, expiry, where, value_size, key_size, kind, zero = struct.unpack_from(
                "<QQIIHBB", block, inside
            )
            assert zero == 0
            key = block[inside + 28 : inside + 28 + key_size]
            entries.append((where * 8, version, expiry, value_size, kind, key))
            inside += 28 + key_size
        assert inside == block_size
        at += 16 + block_size
    told = [(r.offset, r.version, r.expiry, r.value_size, r.kind, r.key) for r in records if r.offset < covered]
    assert entries == told and len(entries) == count
    assert deletions == sum(1 for entry in entries if entry[4] != 1)
    versions = [entry[1] for entry in entries]
    assert smallest == min(versions, default=(1 << 64) - 1) and largest == max(versions, default=0)


def read_store(directory, hints):
    """The live keys: {key: record}."""
    manifest = Manifest(os.path.join(directory, "MANIFEST"))
    durable = durable_mark(os.path.join(directory, "DURABLE"))
    newest = {}
    cleared = {}
    latest = 0
    for number, salt, settled in manifest.files:
        name = f"{number:010d}.data"
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        check_header(name, data, number, salt)
        mark = mark_of(number, settled, len(data), durable)
        records = list(walk(name, data, salt, mark, manifest.voids.get(number, [])))
        hint = os.path.join(directory, f"{number:010d}.hint")
        if hints and os.path.exists(hint):
            check_hint(hint, data, number, salt, records)
        for record in records:
            latest = max(latest, record.version)
            if record.kind == 3:
                first, last = struct.unpack("<HH", record.key)
                for slot in range(first, last + 1):
                    cleared[slot] = max(cleared.get(slot, 0), record.version)
                continue
            slot = xxh3(record.key) >> 50
            fenced = (number, record.offset) <= manifest.fences.get(slot, (0, 0))
            known = newest.get(record.key)
            if not fenced and (known is None or record.version > known.version):
                newest[record.key] = record
    now = max(int(time.time() * 1000), latest // 1000, manifest.floor // 1000)
    return {
        key: record
        for key, record in newest.items()
        if record.kind == 1
        and xxh3(key) >> 50 not in manifest.arriving
        and record.version > cleared.get(xxh3(key) >> 50, 0)
        and (record.expiry == 0 or record.expiry > now)
    }


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--hints"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    live = read_store(arguments[0], "--hints" in sys.argv)
    for key in sorted(live, key=lambda key: (xxh3(key), key)):
        record = live[key]
        value = record.value.hex() if record.whole and not record.lost else "corrupt"
        print(key.hex(), value, record.version, "expires" if record.expiry else "stays")


if __name__ == "__main__":
    main()

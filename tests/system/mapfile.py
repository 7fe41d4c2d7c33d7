"""The coordinator's map log, as docs/FORMAT.md tells it."""

import struct

import msgpack
import xxhash

HEADER = 16
MAP, TERM = 1, 2
LONG = 80 << 10  # a log that is longer is replaced by a shorter one when it is opened


def entries(data):
    """Yields (kind, payload) of every whole entry, then the offset behind them."""
    at = HEADER
    while at + 16 <= len(data):
        size, kind = struct.unpack("<II", data[at + 8:at + 16])
        rest = data[at + 8:at + 16 + size]
        if len(rest) != 8 + size or \
                struct.unpack("<Q", data[at:at + 8])[0] != xxhash.xxh3_64_intdigest(rest):
            break
        yield kind, msgpack.unpackb(rest[8:], raw=False, strict_map_key=False)
        at += 16 + size
    yield None, at


def entry(kind, payload):
    packed = msgpack.packb(payload)
    rest = struct.pack("<II", len(packed), kind) + packed
    return struct.pack("<Q", xxhash.xxh3_64_intdigest(rest)) + rest


def lengthen(path):
    """As if the coordinator had been started very often. A log with an unfinished entry is left."""
    with open(path, "rb") as log:
        data = log.read()
    term = None
    for kind, payload in entries(data):
        if kind == MAP:
            term = payload[1]
        elif kind == TERM:
            term = payload
        elif kind is None and payload != len(data):
            return
    if term is None:
        return  # there is no map yet
    with open(path, "ab") as log:
        while log.tell() < LONG:
            term += 1
            log.write(entry(TERM, term))

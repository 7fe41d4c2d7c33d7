"""A machine that loses its power, played on the directory of a shard that was killed: what was synced
stays, of all else it may keep a part, nothing, or rubbish."""

import os
import struct

import xxhash

FILE_HEADER = 64  # bytes at the beginning of a data file, durable before anything behind them
KINDS = ["cut", "zeros", "rubbish", "longer", "nothing"]


def durable_copy(directory):
    """The newest whole copy of the mark in DURABLE (shard/durable.h); b"" if there is none."""
    with open(directory + "/DURABLE", "rb") as mark:
        data = mark.read()
    copies = [copy for copy in (data[:80], data[128:208])
              if len(copy) == 80 and xxhash.xxh3_64_intdigest(copy[:72]) == struct.unpack("<Q", copy[72:])[0]]
    assert copies or not data, data
    return max(copies, key=lambda copy: struct.unpack("<Q", copy[64:72]), default=b"")


def durable_mark(directory):
    """Two times (file, offset): what is on disk for certain, and what has been acknowledged."""
    data = durable_copy(directory)
    if not data:
        return (0, 0), (0, 0)
    return struct.unpack("<QQ", data[16:32]), struct.unpack("<QQ", data[32:48])


def manifest_files(directory):
    """The data files that a shard's manifest lists: {number: settled}, and the set of the discarded
    ones (shard/manifest.h)."""
    with open(directory + "/MANIFEST", "rb") as manifest:
        data = manifest.read()
    body = data[24:]
    files, voids, ranges, discarded = struct.unpack("<4I", body[48:64])
    at = 64 if data[8] == 1 else 104
    listed = {}
    for _ in range(files):
        number, _, settled, _ = struct.unpack("<4Q", body[at:at + 32])
        listed[number] = settled > 0
        at += 32
    at += 24 * voids + 32 * ranges
    return listed, set(struct.unpack("<%dQ" % discarded, body[at:at + 8 * discarded]))


def of_another_boot(copy):
    """The contents of DURABLE as a machine finds it that has been started again."""
    data = copy[:48] + bytes(16) + copy[64:72]
    return data + struct.pack("<Q", xxhash.xxh3_64_intdigest(data))


def data_files(directory):
    return sorted(name for name in os.listdir(directory) if name.endswith(".data"))


def lose(dice, directory, kinds):
    """Harms everything behind the durable mark, in one of the ways of KINDS."""
    (file, offset), _ = durable_mark(directory)
    listed, _ = manifest_files(directory)
    for name in data_files(directory):
        number = int(name[:-len(".data")])
        path = directory + "/" + name
        if number not in listed:
            harm(dice, path, 0, dice.choice(kinds))  # the output of an unfinished merge
        elif not listed[number] and number >= file:
            safe = offset if number == file else FILE_HEADER
            harm(dice, path, safe, dice.choice(kinds))


def keep_links(directory):
    """So that files that are removed can come back."""
    kept = directory + ".kept"
    os.makedirs(kept, exist_ok=True)
    for name in data_files(directory):
        try:
            os.link(directory + "/" + name, kept + "/" + name)
        except FileExistsError:
            pass
        except FileNotFoundError:
            pass  # removed just now


def bring_back(directory):
    """A removal that was not synced may not have been."""
    kept = directory + ".kept"
    present = data_files(directory)
    _, discarded = manifest_files(directory)
    for name in os.listdir(kept):
        if name not in present and int(name[:-len(".data")]) in discarded:
            os.link(kept + "/" + name, directory + "/" + name)
        os.unlink(kept + "/" + name)


def harm(dice, path, safe, kind):
    size = max(safe, os.path.getsize(path))
    at = dice.randrange(safe, size + 1)
    with open(path, "r+b") as data:
        if kind == "cut":
            data.truncate(at)
        elif kind == "zeros":
            data.seek(at)
            data.write(bytes(size - at))
        elif kind == "rubbish":
            data.seek(at)
            data.write(dice.randbytes(dice.randrange(1, 9000)))
        elif kind == "longer":
            data.seek(size)
            data.write(dice.choice([bytes(4096), dice.randbytes(5000)]))


def forget_mark(dice, directory, older):
    """The mark is synced when a file is begun, and else never: a machine may find any that was
    written since."""
    newest = durable_copy(directory)
    if not newest:
        return
    marks = [newest] + [old for old in older if old[16:24] == newest[16:24]]
    with open(directory + "/DURABLE", "wb") as mark:
        mark.write(of_another_boot(dice.choice(marks)))

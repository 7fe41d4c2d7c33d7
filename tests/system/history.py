"""What clients did, and whether the answers they got can be those of a store that keeps its word.

A Register is a key with one writer, which numbers its writes 1, 2, 3 ...; anybody may read it. An
acknowledged write is there from then on. One that ended as unknown (status 8, 10, 11, 13, or the
connection lost) may be there or not. One refused with any other status was never there. Whatever a
read has shown is there to stay until a later write: no read may ever see an earlier one.

A Counter is a key that many clients increment: no two get the same number, none gets a lower one
than was acknowledged before it began, and the end is exact but for the increments of unknown fate.

A Chain is a key that many clients replace with if_version: no version is replaced twice.

Every check raises Broken with what happened to the key.
"""

import threading

import harness

ABSENT = object()
UNKNOWN_STATUSES = (harness.UNKNOWN, harness.IO, harness.CORRUPT, harness.INTERNAL)
NOT_APPLIED = (harness.NOTFOUND, harness.BADREQUEST, harness.TOOLARGE, harness.MISMATCH,
               harness.WRONGTYPE, harness.MOVED, harness.UNAVAILABLE, harness.BUSY, harness.DENIED)


class Broken(Exception):
    """The store broke a promise."""


def is_unknown(reply):
    """Whether a write that got this reply (None: the connection was lost) may have been applied."""
    return reply is None or reply[0] in UNKNOWN_STATUSES


def content(key, number):
    """What write `number` puts under a key: told from any other by every byte."""
    size = (number * 7919 + len(key)) % 97
    if number % 23 == 0:
        size = 2000 + number % 3000
    seed = b"%s/%d/" % (key, number)
    return [key, number, (seed * (size // len(seed) + 1))[:size]]


class Register:
    def __init__(self, key):
        self.key = key
        self.lock = threading.Lock()
        self.kinds = [False]  # of each write: puts it a value (else it deletes); 0: before all
        self.fates = ["acknowledged"]
        self.acknowledged = 0  # the highest
        self.seen = 0  # the highest that a read has shown to be there
        self.shown = set()  # values that were read
        self.version = None  # in place, 0 when absent, None when not known for certain
        self.newest = 0  # version that was acknowledged

    # The writer's side. One write (or row of writes in one message) at a time.

    def begin(self, puts):
        with self.lock:
            self.kinds.append(puts)
            self.fates.append("open")
            return len(self.kinds) - 1

    def end(self, number, reply):
        """The reply to write `number`, None when the connection was lost."""
        with self.lock:
            if is_unknown(reply):
                self.fates[number] = "unknown"
                self.version = None
            elif reply[0] == harness.OK:
                self.fates[number] = "acknowledged"
                self.acknowledged = number
                self.version = 0
                if self.kinds[number]:
                    self.take_version(reply[1])
            else:
                self.fates[number] = "refused with %d" % reply[0]
                if number in self.shown:
                    self.fail("write %d was refused and yet read" % number)

    def touched(self, reply):
        """The reply to a touch of a key that was there."""
        with self.lock:
            if is_unknown(reply):
                self.version = None
            elif reply[0] == harness.OK:
                self.take_version(reply[1])
            elif reply[0] == harness.NOTFOUND:
                self.fail("touch did not find it")

    def take_version(self, version):
        if version <= self.newest:
            self.fail("version %d came after %d" % (version, self.newest))
        self.version = self.newest = version

    # A reader's side.

    def low(self):
        """To be asked before a read: no earlier write may be seen by it."""
        with self.lock:
            return max(self.acknowledged, self.seen)

    def found(self, low, value):
        """A read that began when low() was `low` found a value, or ABSENT."""
        with self.lock:
            high = len(self.kinds) - 1
            if value is ABSENT:
                gone = [n for n in range(low, high + 1)
                        if not self.kinds[n] and not self.fates[n].startswith("refused")]
                if not gone:
                    self.fail("found absent, when write %d or a later one was there" % low)
                self.seen = max(self.seen, gone[0])
                return
            if not isinstance(value, list) or len(value) != 3 or value[0] != self.key:
                self.fail("found %r, which was never written" % (value,))
            number = value[1]
            if not isinstance(number, int) or not 0 < number <= high or not self.kinds[number]:
                self.fail("found %r, which was never written" % (value,))
            if value != content(self.key, number):
                self.fail("found write %d with wrong bytes: %r" % (number, value))
            if self.fates[number].startswith("refused"):
                self.fail("found write %d, which was refused" % number)
            if number < low:
                self.fail("found write %d when write %d was there already" % (number, low))
            self.seen = max(self.seen, number)
            self.shown.add(number)

    def states(self):
        """All that may be in place now: (put or not, number)."""
        with self.lock:
            low = max(self.acknowledged, self.seen)
            return {(self.kinds[n], n) for n in range(low, len(self.kinds))
                    if n == low or not self.fates[n].startswith("refused")}

    def fail(self, what):
        first = max(0, min(self.acknowledged, self.seen) - 5)
        rows = ["%4d %-6s %s" % (n, "put" if self.kinds[n] else "del", self.fates[n])
                for n in range(first, len(self.kinds))]
        raise Broken("%s: %s\nacknowledged %d, seen %d\n%s" %
                     (self.key, what, self.acknowledged, self.seen, "\n".join(rows)))


class Counter:
    def __init__(self, key):
        self.key = key
        self.lock = threading.Lock()
        self.numbers = set()
        self.highest = 0  # acknowledged, or read
        self.unknown = 0
        self.under_way = 0

    def low(self):
        with self.lock:
            return self.highest

    def begin(self):
        with self.lock:
            self.under_way += 1
            return self.highest

    def end(self, low, reply):
        with self.lock:
            self.under_way -= 1
            if is_unknown(reply):
                self.unknown += 1
            elif reply[0] == harness.OK:
                number = reply[1]
                if number in self.numbers:
                    raise Broken("%s: two increments got %d" % (self.key, number))
                if number <= low:
                    raise Broken("%s: an increment got %d when it was at %d already" %
                                 (self.key, number, low))
                self.numbers.add(number)
                self.highest = max(self.highest, number)

    def found(self, low, value):
        with self.lock:
            number = 0 if value is ABSENT else value
            most = len(self.numbers) + self.unknown + self.under_way
            if not low <= number <= most:
                raise Broken("%s: found %r when it was at %d, and can be at %d at most" %
                             (self.key, number, low, most))
            self.highest = max(self.highest, number)


class Chain:
    def __init__(self, key):
        self.key = key
        self.lock = threading.Lock()
        self.replaced = {}  # version -> by which version, and how many were replaced before it

    def low(self):
        with self.lock:
            return len(self.replaced)

    def end(self, base, reply):
        """The reply to a put with if_version `base`."""
        with self.lock:
            if reply is not None and reply[0] == harness.OK:
                if base in self.replaced:
                    raise Broken("%s: version %d was replaced twice, by %d and %d" %
                                 (self.key, base, self.replaced[base][0], reply[1]))
                if reply[1] <= base:
                    raise Broken("%s: version %d came after %d" % (self.key, reply[1], base))
                self.replaced[base] = (reply[1], len(self.replaced))

    def found(self, low, version):
        """A read that began when low() was `low` found this version in place."""
        with self.lock:
            by, order = self.replaced.get(version, (0, low))
            if order < low:
                raise Broken("%s: version %d is back, which was replaced by %d" %
                             (self.key, version, by))

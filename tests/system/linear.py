"""Whether what many clients saw of one key can be explained by one store that does one operation at a
time: linearizability, operation by operation, with outcomes that are not known.

    history = History()
    op = history.begin(key, "put", "a")       before the request is sent
    history.end(op, OK_REPLY)                 when the reply has come; None: the connection was lost
    history.check()                           raises Broken with the history of the first bad key

Operations and what their replies must fit, for a state (value, version):

    ("put", value)            [0, version]   the value is there, the version is larger than before
    ("cas", base, value)      [0, version] if the version was `base` (0: absent), else [4, ...]
    ("del",)                  [0, existed]
    ("get",)                  [0, value], or [1, ...] when absent
    ("meta",)                 [0, {"version": ...}], or [1, ...]
    ("incr", delta)           [0, sum], absent counts as 0
    ("clear",)                [0, ...]: the key is absent; what else was removed is not looked at

A write whose reply says that it was not applied is as if it had never been. One of unknown fate may
take effect once at any time after it was begun, or never. A read without an answer tells nothing.

The check goes through begins and ends in the order in which they happened and keeps the set of all
situations that are possible: a state, and which of the operations under way have taken effect in it
(G. Lowe, "Testing for linearizability", 2017: just-in-time linearization). Before an operation ends,
every order of those under way that lets it take effect is tried; the situations in which it has not,
or with another result, are given up. When none is left the history is impossible.
"""

import collections
import itertools
import threading

from history import NOT_APPLIED, Broken, is_unknown

WRITES = ("put", "cas", "del", "incr", "clear")
SITUATIONS_MAX = 200000


class Absent:
    def __repr__(self):
        return "absent"


ABSENT = Absent()


class Op:
    def __init__(self, number, key, kind, args):
        self.number = number
        self.key = key
        self.kind = kind
        self.args = args
        self.reply = None
        self.begun = self.ended = None  # places in the order of events; ended None: never

    def __repr__(self):
        what = "%s%r" % (self.kind, self.args)
        ended = "open" if self.ended is None else self.ended
        return "%6d..%-6s #%-5d %-40s -> %r" % (self.begun, ended, self.number, what[:40], self.reply)


class History:
    """Filled by any number of threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clock = itertools.count()
        self.numbers = itertools.count(1)
        self.keys = {}

    def begin(self, key, kind, *args):
        with self.lock:
            op = Op(next(self.numbers), key, kind, args)
            op.begun = next(self.clock)
            self.keys.setdefault(key, []).append(op)
            return op

    def end(self, op, reply):
        with self.lock:
            op.reply = reply
            op.ended = next(self.clock)

    def check(self):
        for key, ops in self.keys.items():
            check_key(key, ops)


def counts(op):
    """Whether an operation says anything: a read that failed and a write that was refused do not."""
    if op.kind in WRITES:
        mismatch = op.kind == "cas" and op.reply is not None and op.reply[0] == 4
        return op.ended is None or is_unknown(op.reply) or op.reply[0] == 0 or mismatch
    if op.reply is None or op.ended is None:
        return False
    return op.reply[0] in (0, 1)


def check_key(key, ops):
    events = []
    for op in ops:
        if not counts(op):
            continue
        events.append((op.begun, False, op))
        if op.ended is not None and not is_unknown(op.reply):
            events.append((op.ended, True, op))
    events.sort(key=lambda event: event[0])
    situations = {((ABSENT, 0), frozenset())}
    under_way = {}
    for _, is_end, op in events:
        if not is_end:
            under_way[op.number] = op
            continue
        situations = settle(situations, under_way, op)
        del under_way[op.number]
        if not situations:
            raise Broken("%s: no order of operations explains the answer of #%d\n%s" %
                         (key, op.number, "\n".join(repr(o) for o in sorted(
                             ops, key=lambda o: o.begun) if o.begun <= op.ended)))


def is_optional(op):
    """Whether it may also never take effect."""
    return op.ended is None or is_unknown(op.reply)


class Seen:
    """Situations that need not be looked at again. What is possible in one is possible in any other that
    differs from it only in that fewer operations of unknown fate have taken effect: these may do so
    later, or never. Without this the situations double with each of them."""

    def __init__(self, optional):
        self.optional = optional
        self.count = 0
        self.known = {}  # (state, certain operations) -> sets of optional ones

    def add(self, situation):
        """True when it is a new one."""
        state, effective = situation
        optional = effective & self.optional
        others = self.known.setdefault((state, effective - optional), [])
        if any(other <= optional for other in others):
            return False
        others.append(optional)
        self.count += 1
        return True


def settle(situations, under_way, op):
    """The situations in which `op`, which ends now, has taken effect."""
    seen = Seen(frozenset(n for n, other in under_way.items() if is_optional(other)))
    done = Seen(seen.optional)
    left = set()
    todo = collections.deque(situation for situation in sorted(situations, key=lambda s: len(s[1]))
                             if seen.add(situation))
    while todo:
        state, effective = todo.popleft()
        if op.number in effective:
            situation = (state, effective - {op.number})
            if done.add(situation):
                left.add(situation)
            continue
        tried = set()  # of optional operations that are alike one is as good as the other
        for number, other in under_way.items():
            alike = (other.kind, freeze(list(other.args)))
            if number in effective or (number in seen.optional and alike in tried):
                continue
            if number in seen.optional:
                tried.add(alike)
            after = apply(state, other)
            if after is not None and seen.add((after, effective | {number})):
                todo.append((after, effective | {number}))
        if seen.count > SITUATIONS_MAX:
            raise Broken("%s: too many operations at once to check" % op.key)
    return left


def apply(state, op):
    """The state after `op` has taken effect; None if it cannot have its reply in this one."""
    reply = None if op.ended is None or is_unknown(op.reply) else op.reply
    return APPLY[op.kind](state, op, reply)


def written(state, op, value, reply):
    """A version that nobody was told stands as the number of its operation, negative."""
    version = -op.number
    if reply is not None:
        version = reply[1]
        if state[1] > 0 and version <= state[1]:
            return None
    return (value, version)


def apply_put(state, op, reply):
    return written(state, op, freeze(op.args[0]), reply)


def apply_cas(state, op, reply):
    base, value = op.args
    holds = (state[0] is ABSENT) if base == 0 else state[0] is not ABSENT and state[1] == base
    if reply is not None and reply[0] == 4:
        return None if holds else state
    if not holds:
        return state if reply is None else None
    return written(state, op, freeze(value), reply)


def apply_del(state, op, reply):
    existed = state[0] is not ABSENT
    if reply is not None and reply[1] != existed:
        return None
    return (ABSENT, state[1] if state[1] > 0 else 0)


def apply_clear(state, op, reply):
    return (ABSENT, state[1] if state[1] > 0 else 0)


def apply_incr(state, op, reply):
    value = 0 if state[0] is ABSENT else state[0]
    if not isinstance(value, int):
        return None
    value += op.args[0]
    if reply is not None and reply[1] != value:
        return None
    return (value, -op.number)


def apply_get(state, op, reply):
    if reply[0] == 1:
        return state if state[0] is ABSENT else None
    return state if state[0] is not ABSENT and state[0] == freeze(reply[1]) else None


def apply_meta(state, op, reply):
    if reply[0] == 1:
        return state if state[0] is ABSENT else None
    version = reply[1]["version"]
    if state[0] is ABSENT or (state[1] > 0 and state[1] != version):
        return None
    return (state[0], version)


APPLY = {"put": apply_put, "cas": apply_cas, "del": apply_del, "incr": apply_incr,
         "clear": apply_clear, "get": apply_get, "meta": apply_meta}


def freeze(value):
    """A value that can stand in a set."""
    return tuple(freeze(item) for item in value) if isinstance(value, list) else value


assert not set(NOT_APPLIED) & {0}

"""Clients that write and read without a pause while a test does harm to the daemons, and judge every
answer they get (history.py). A client that loses its connection connects again.

    load = Load(case, [url...], seed)     the clients start at once
    ... kill, stop, freeze ...
    load.stop()                           raises what any client has found broken
    load.verify(url)                      every key, read in every way there is
    load.start()                          they go on with the same keys
"""

import random
import threading
import time

import harness
from harness import OK, NOTFOUND, MISMATCH, UNAVAILABLE, UNKNOWN, Client, Lost, Worker
from history import ABSENT, Broken, Chain, Counter, Register, content

LONG_TTL = 3600000
CLOCK_SLACK = 0.05
PERHAPS = (8, 10, 11, 13)  # the statuses of a write that may have been applied


class Load:
    """`allowed`: the statuses that may come beside 0, 1 and 4. `sync_options`: now and then a write
    says for itself whether it waits for the disk."""

    def __init__(self, case, urls, seed, writers=4, readers=1, keys=25,
                 allowed=(UNAVAILABLE, UNKNOWN), sync_options=True, prefix="", timeout=20):
        self.urls = urls
        self.timeout = timeout
        self.allowed = {OK, NOTFOUND, MISMATCH} | set(allowed)
        self.sync_options = sync_options
        self.stopping = threading.Event()
        self.registers = [[Register(b"%sw%d-%d" % (prefix.encode(), w, k)) for k in range(keys)]
                          for w in range(writers)]
        self.counters = [Counter(b"%scounter-%d" % (prefix.encode(), n)) for n in range(3)]
        self.chain = Chain(prefix.encode() + b"chain")
        self.fleeting = []  # (key, can be there until, must be there until)
        self.statuses = {}  # how often each came; None: the connection was lost
        self.lock = threading.Lock()
        dice = random.Random(seed)
        self.writers = [Writer(self, w, dice.random()) for w in range(writers)]
        self.readers = [random.Random(dice.random()) for _ in range(readers)]
        case.addCleanup(self.stopping.set)
        self.start()

    def start(self):
        self.stopping.clear()
        self.workers = [Worker(writer.run) for writer in self.writers]
        self.workers += [Worker(self.read, dice) for dice in self.readers]

    def all_registers(self):
        return [register for row in self.registers for register in row]

    def note(self, status):
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def acknowledged(self):
        return self.statuses.get(OK, 0)

    def connect(self, dice):
        """A connection, or None when it is time to stop."""
        while not self.stopping.is_set():
            try:
                return Client(dice.choice(self.urls), self.timeout)
            except Lost:
                time.sleep(0.005)
        return None

    def wait_for_progress(self, count=50):
        """Until so many more requests have been answered with 0."""
        goal = self.acknowledged() + count

        def progressed():
            for worker in self.workers:
                if not worker.is_alive():
                    worker.join()
            return self.acknowledged() >= goal
        harness.wait_for(progressed, "the clients to get on")

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join()

    def read(self, dice):
        """A client that only reads, anybody's keys, alone and many together."""
        client = None
        while not self.stopping.is_set():
            if client is None:
                client = self.connect(dice)
                continue
            try:
                self.read_some(client, dice)
            except Lost:
                client.close()
                client = None
        if client is not None:
            client.close()

    def read_some(self, client, dice):
        if dice.random() < 0.2:
            self.ask_all(client, dice)
        registers = dice.sample(self.all_registers(), dice.randrange(1, 12))
        lows = [register.low() for register in registers]
        if len(registers) == 1:
            replies = [client.call("get", registers[0].key)]
        elif dice.random() < 0.5:
            reply = client.call("mget", [register.key for register in registers])
            replies = item_replies(reply, len(registers))
        else:
            reply = client.call("batch", [["get", register.key] for register in registers])
            replies = item_replies(reply, len(registers))
        for register, low, reply in zip(registers, lows, replies):
            take_read(self, register, low, reply)

    def ask_all(self, client, dice):
        """Requests to all shards at once: all that counts is that they are answered."""
        requests = [["count"], ["stats"], ["map"], ["sync"], ["scan", None, {"limit": 50}],
                    ["scan", None, {"values": True}]]
        ids = [client.send(*request) for request in dice.sample(requests, 4)]
        for request_id in ids:
            reply = client.wait(request_id)
            self.note(reply[0])
            if reply[0] not in self.allowed:
                raise Broken("unexpected answer %r" % reply)

    def verify(self, url, others=()):
        """Once the clients have stopped and every shard is up. `others`: keys that may be there too."""
        targets = self.all_registers() + self.counters
        with Client(url) as client:
            self.verify_fleeting(client)
            lows = [target.low() for target in targets]
            scanned = {bytes(key): value for key, value in client.scan(values=True, limit=97)}
            singles = [client.call("get", target.key) for target in targets]
            many = client.ok("mget", [target.key for target in targets])
            counted = client.ok("count")
            low = self.chain.low()
            meta = client.call("meta", self.chain.key)
        for target, low_, single, other in zip(targets, lows, singles, many):
            assert single == other, (target.key, single, other)
            take_read(self, target, low_, single)
            value = single[1] if single[0] == OK else ABSENT
            same = scanned.pop(target.key, ABSENT)
            if value is not same and value != same:
                raise Broken("%s: get finds %r, scan finds %r" % (target.key, value, same))
        if meta[0] == OK:
            self.chain.found(low, meta[1]["version"])
        present = sum(1 for reply in singles + [meta] if reply[0] == OK)
        scanned.pop(self.chain.key, None)
        for key in others:
            if scanned.pop(key, ABSENT) is not ABSENT:
                present += 1
        if scanned or counted != present:
            raise Broken("%d keys are there, count says %d, scan shows %r as well" %
                         (present, counted, list(scanned)[:5]))

    def verify_fleeting(self, client):
        """What had a short time to live is gone."""
        if self.fleeting:
            latest = max(until for _, until, _ in self.fleeting)
            time.sleep(max(0, latest - time.time() + CLOCK_SLACK))
            for reply in client.ok("mget", [key for key, _, _ in self.fleeting]):
                if reply[0] != NOTFOUND:
                    raise Broken("a key whose time has come is still there: %r" % reply)


def take_read(load, target, low, reply):
    """The reply to a get of a register or counter."""
    load.note(reply[0])
    if reply[0] == OK:
        target.found(low, reply[1])
    elif reply[0] == NOTFOUND:
        target.found(low, ABSENT)
    elif reply[0] not in load.allowed:
        raise Broken("get %s -> %r" % (target.key, reply))


class Writer:
    """A client that writes to registers of its own, and to the counters and the chain."""

    def __init__(self, load, number, seed):
        self.load = load
        self.number = number
        self.registers = load.registers[number]
        self.dice = random.Random(seed)
        self.busy = set()
        self.client = None
        self.fleeting_count = 0

    def run(self):
        flight = []  # (request id, what to do with the reply), oldest first
        try:
            while not self.load.stopping.is_set() or flight:
                if self.client is None:
                    self.client = self.load.connect(self.dice)
                    continue
                flight = self.step(flight)
        finally:
            if self.client is not None:
                self.client.close()
                self.client = None

    def step(self, flight):
        try:
            while len(flight) < self.dice.randrange(1, 9) and not self.load.stopping.is_set():
                request, done = self.choose()
                flight.append((None, done))  # lost, should sending fail
                flight[-1] = (self.client.send(*request), done)
            if flight:
                reply = self.client.wait(flight[0][0])
                self.take(flight.pop(0)[1], reply)
        except Lost:
            self.client.close()
            self.client = None
            for _, done in flight:
                self.load.note(None)
                done(None)
            return []
        return flight

    def take(self, done, reply):
        self.load.note(reply[0])
        if reply[0] not in self.load.allowed:
            raise Broken("unexpected answer %r" % reply)
        done(reply)

    # Requests: each returns the request and a function that takes its reply (None: lost).

    def choose(self):
        free = [r for r in self.registers if r.key not in self.busy]
        kinds = [(self.put, 8), (self.conditional, 5), (self.delete, 3), (self.touch, 2),
                 (self.get, 3), (self.multi_put, 3), (self.multi_delete, 1), (self.batch, 3)]
        if len(free) < 6 or self.dice.random() < 0.25:
            return self.dice.choice([self.incr, self.incr, self.chain, self.fleeting])()
        kind = self.dice.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        return kind(free)

    def take_registers(self, free, count):
        taken = self.dice.sample(free, count)
        self.busy.update(register.key for register in taken)
        return taken

    def release(self, *registers):
        self.busy.difference_update(register.key for register in registers)

    def options(self):
        options = {}
        if self.dice.random() < 0.2:
            options["ttl_ms"] = LONG_TTL
        if self.load.sync_options and self.dice.random() < 0.2:
            options["sync"] = self.dice.random() < 0.5
        return [options] if options else []

    def put(self, free):
        register, = self.take_registers(free, 1)
        number = register.begin(True)

        def done(reply):
            register.end(number, reply)
            self.release(register)
        return ["put", register.key, content(register.key, number)] + self.options(), done

    def conditional(self, free):
        """put or del with the right version, or with a wrong one."""
        register, = self.take_registers(free, 1)
        version = register.version
        right = version is not None and self.dice.random() < 0.7
        base = version if right else (version or 0) + 1
        puts = base == 0 or self.dice.random() < 0.6
        number = register.begin(puts)

        def done(reply):
            status = None if reply is None else reply[0]
            if right and status in (MISMATCH, NOTFOUND):
                register.fail("if_version %d -> %r" % (base, reply))
            if not right and status == OK and reply[1] is not False:
                register.fail("if_version %d, which it never had -> %r" % (base, reply))
            # A del of an absent key with a condition tells of a mismatch or of nothing deleted.
            register.end(number, reply)
            self.release(register)
        if puts:
            value = content(register.key, number)
            return ["put", register.key, value, {"if_version": base}], done
        return ["del", register.key, {"if_version": base}], done

    def delete(self, free):
        register, = self.take_registers(free, 1)
        before = register.states()
        number = register.begin(False)

        def done(reply):
            check_existed(register, before, reply)
            register.end(number, reply)
            self.release(register)
        return ["del", register.key], done

    def touch(self, free):
        there = [register for register in free if register.version]
        if not there:
            return self.put(free)
        register, = self.take_registers(there, 1)

        def done(reply):
            register.touched(reply)
            self.release(register)
        return ["touch", register.key, self.dice.choice([None, LONG_TTL])], done

    def get(self, free):
        register = self.dice.choice(free)
        low = register.low()

        def done(reply):
            if reply is not None:
                take_read(self.load, register, low, reply)
        return ["get", register.key], done

    def multi_put(self, free):
        registers = self.take_registers(free, self.dice.randrange(2, 6))
        numbers = [register.begin(True) for register in registers]
        items = [[register.key, content(register.key, number)] + self.options()
                 for register, number in zip(registers, numbers)]

        def done(reply):
            for register, number, item in zip(registers, numbers, item_replies(reply, len(items))):
                self.check_item(item)
                register.end(number, item)
            self.release(*registers)
        return ["mput", items], done

    def multi_delete(self, free):
        registers = self.take_registers(free, self.dice.randrange(2, 5))
        before = [register.states() for register in registers]
        numbers = [register.begin(False) for register in registers]

        def done(reply):
            items = item_replies(reply, len(registers))
            for register, states, number, item in zip(registers, before, numbers, items):
                self.check_item(item)
                check_existed(register, states, item)
                register.end(number, item)
            self.release(*registers)
        return ["mdel", [register.key for register in registers]], done

    def batch(self, free):
        """Three writes to one key with a read behind them, a write to another, an increment."""
        first, second = self.take_registers(free, 2)
        numbers = [first.begin(True), first.begin(False), first.begin(True)]
        other = second.begin(True)
        counter = self.dice.choice(self.load.counters)
        low = counter.begin()
        requests = [["put", first.key, content(first.key, numbers[0])],
                    ["put", second.key, content(second.key, other)],
                    ["del", first.key],
                    ["put", first.key, content(first.key, numbers[2])],
                    ["get", first.key],
                    ["incr", counter.key]]

        def done(reply):
            items = item_replies(reply, len(requests))
            for item in items:
                self.check_item(item)
            first.end(numbers[0], items[0])
            second.end(other, items[1])
            first.end(numbers[1], items[2])
            first.end(numbers[2], items[3])
            if items[4] is not None:
                take_read(self.load, first, first.low(), items[4])
            counter.end(low, items[5])
            self.release(first, second)
        return ["batch", requests], done

    def check_item(self, item):
        if item is not None and item[0] not in self.load.allowed:
            raise Broken("unexpected answer to an item: %r" % item)

    def incr(self):
        counter = self.dice.choice(self.load.counters)
        low = counter.begin()
        return ["incr", counter.key], lambda reply: counter.end(low, reply)

    def chain(self):
        """Waits for the version in place, then replaces it."""
        chain = self.load.chain
        low = chain.low()
        reply = self.client.call("meta", chain.key)
        base = 0
        if reply[0] == OK:
            base = reply[1]["version"]
            chain.found(low, base)
        elif reply[0] == NOTFOUND and low > 0:
            raise Broken("%s is gone" % chain.key)
        elif reply[0] != NOTFOUND:
            return self.incr()
        value = [self.number, self.dice.random()]
        return (["put", chain.key, value, {"if_version": base}],
                lambda reply: chain.end(base, reply))

    def fleeting(self):
        """A key that lives for a moment: there until then, and not after."""
        self.fleeting_count += 1
        key = b"fleeting-%d-%d" % (self.number, self.fleeting_count)
        ttl = self.dice.randrange(100, 1000)
        there_until = time.time() + ttl / 1000 - CLOCK_SLACK

        def done(reply):
            gone_at = time.time() + ttl / 1000
            with self.load.lock:
                if reply is not None and reply[0] == OK:
                    self.load.fleeting.append((key, gone_at, there_until))
                elif reply is None or reply[0] in PERHAPS:
                    # It may have been applied, or be so in the next moments.
                    self.load.fleeting.append((key, gone_at + 2, 0))
        self.check_fleeting()
        return ["put", key, self.fleeting_count, {"ttl_ms": ttl}], done

    def check_fleeting(self):
        with self.load.lock:
            if not self.load.fleeting:
                return
            key, gone_at, there_until = self.dice.choice(self.load.fleeting[-8:])
        begun = time.time()
        reply = self.client.call("exists", key)
        ended = time.time()
        if reply == [OK, True] and begun > gone_at + CLOCK_SLACK:
            raise Broken("%s should have expired" % key)
        if reply == [OK, False] and ended < there_until:
            raise Broken("%s expired too early" % key)


def item_replies(reply, count):
    """The replies to the items of a message: its own for all of them when it failed as a whole."""
    if reply is None or reply[0] != OK:
        return [reply] * count
    if len(reply[1]) != count:
        raise Broken("%d replies to %d items" % (len(reply[1]), count))
    return reply[1]


def check_existed(register, before, reply):
    """What a del said was there must have been there."""
    if reply is not None and reply[0] == OK:
        if reply[1] not in {puts for puts, _ in before}:
            register.fail("del says %r; could be there: %r" % (reply[1], sorted(before, key=str)))

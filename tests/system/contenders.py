"""Clients that do everything to the same few keys at once, through the coordinator and past it; their
answers must be those of one store that does one thing at a time (linear.py).

    contenders = Contenders([url...], seed)       they start at once
    ... do harm ...
    contenders.stop()
    contenders.verify(url)                        every key once more; raises Broken
"""

import random
import threading
import time

from harness import BUSY, MISMATCH, MOVED, NOTFOUND, OK, UNAVAILABLE, UNKNOWN, Client, Lost, Worker, \
    slot_of
from history import Broken
from linear import History

ALLOWED = {OK, NOTFOUND, MISMATCH, UNAVAILABLE, UNKNOWN}
RETRIES = 4  # owners that a direct client asks, one after the other


class Unreachable(Lost):
    """There was no connection: nothing was sent."""


class DirectClient:
    """Knows the map and asks the shards, as docs/PROTOCOL.md says. Lost leaves it usable: with the map
    that it has, however old that is by then."""

    def __init__(self, url, timeout=5):
        self.url = url
        self.timeout = timeout
        self.connections = {}  # url -> Client
        self.map = self.ask(url, "map")[1]

    def ask(self, url, *request):
        if url not in self.connections:
            try:
                self.connections[url] = Client(url, self.timeout)
            except (Lost, AssertionError) as error:  # a time-out is an AssertionError
                raise Unreachable(str(error)) from error
        try:
            return self.connections[url].call(*request)
        except (Lost, AssertionError) as error:
            self.connections.pop(url).close()
            raise Lost(str(error)) from error

    def take_map(self, url):
        """Takes over the map that is told there, if it is newer."""
        try:
            reply = self.ask(url, "map")
        except Lost:
            return False
        newer = reply[0] == OK and reply[1]["epoch"] > self.map["epoch"]
        if newer:
            self.map = reply[1]
        return newer

    def owner(self, key):
        """(id, url) of the shard that should have it."""
        slot = slot_of(key)
        urls = {shard["id"]: shard["url"] for shard in self.map["shards"]}
        for first, last, owner in self.map["ranges"]:
            if first <= slot <= last:
                return owner, urls.get(owner)
        return None, None

    def known(self, number, url):
        """Whether there is a connection to the shard, and the shard is the right one."""
        if url is None:
            return False
        if url in self.connections:
            return True
        try:
            reply = self.ask(url, "map")
        except Lost:
            return False
        return reply[0] == OK and reply[1].get("shard") == number and \
            reply[1].get("cluster") == self.map["cluster"]

    def call(self, op, key, *rest):
        for _ in range(RETRIES):
            number, url = self.owner(key)
            if not self.known(number, url):
                if not self.take_map(self.url):
                    break
                continue
            reply = self.ask(url, op, key, *rest)
            if reply[0] == MOVED and reply[2] > self.map["epoch"]:
                if not self.take_map(url):
                    break
            elif reply[0] in (MOVED, UNAVAILABLE, BUSY):
                break
            else:
                return reply
        try:
            return self.ask(self.url, op, key, *rest)
        except Unreachable as error:
            return [UNAVAILABLE, str(error)]

    def close(self):
        for connection in self.connections.values():
            connection.close()


class Contenders:
    """`clients` go through the coordinator, `direct` past it. `clears`: now and then one removes
    everything; there must be no other keys then."""

    def __init__(self, urls, seed, clients=3, direct=0, keys=6, clears=False):
        self.urls = urls
        self.clears = clears
        self.history = History()
        self.stopping = threading.Event()
        self.keys = [b"contended-%d-%d" % (seed, n) for n in range(keys)]
        self.versions = {key: 0 for key in self.keys}
        dice = random.Random(seed)
        self.workers = [Worker(self.run, kind, random.Random(dice.random()))
                        for kind in [Client] * clients + [DirectClient] * direct]

    def run(self, kind, dice):
        client = None
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = kind(dice.choice(self.urls))
                if self.clears and kind is Client and dice.random() < 0.02:
                    self.clear(client)
                else:
                    self.step(client, dice)
            except Lost:
                if kind is Client and client is not None:
                    client.close()
                    client = None
                time.sleep(0.005)
            time.sleep(dice.random() * 0.004)
        if client is not None:
            client.close()

    def clear(self, client):
        ops = [self.history.begin(key, "clear") for key in self.keys]
        reply = None
        try:
            reply = client.call("clear")
        finally:
            for op in ops:
                self.history.end(op, reply)
        if reply[0] not in (OK, UNAVAILABLE, UNKNOWN, BUSY):
            raise Broken("unexpected answer %r to clear" % reply)

    def step(self, client, dice):
        key = dice.choice(self.keys)
        kind = dice.choice(["put", "incr", "get", "get", "del", "cas", "meta"])
        args = {"put": (dice.randrange(1 << 30),), "incr": (1,),
                "cas": (self.versions[key], dice.randrange(1 << 30))}.get(kind, ())
        request = [kind, key, *args]
        if kind == "cas":
            request = ["put", key, args[1], {"if_version": args[0]}]
        reply = self.carry_out(client, key, kind, args, request)
        if reply[0] == OK and kind in ("put", "cas", "meta"):
            self.versions[key] = reply[1] if kind != "meta" else reply[1]["version"]
        elif kind == "meta" and reply[0] == NOTFOUND:
            self.versions[key] = 0

    def carry_out(self, client, key, kind, args, request):
        op = self.history.begin(key, kind, *args)
        try:
            reply = client.call(*request)
        except Lost:
            self.history.end(op, None)
            raise
        if reply[0] not in ALLOWED:
            raise Broken("unexpected answer %r to %r" % (reply, request))
        self.history.end(op, reply)
        return reply

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join()

    def verify(self, url):
        """Reads every key, through the coordinator and past it, and judges all that has been."""
        present = set()
        with Client(url) as client:
            direct = DirectClient(url)
            for key in self.keys:
                for reader in (client, direct):
                    reply = self.carry_out(reader, key, "get", (), ["get", key])
                if reply[0] == OK:
                    present.add(key)
            direct.close()
            scanned = client.scan()
        if self.clears and set(scanned) != present:
            raise Broken("a scan finds %r, gets find %r" % (sorted(scanned), sorted(present)))
        self.history.check()

    def operations(self):
        return sum(map(len, self.history.keys.values()))

"""The client of client.py, gone direct: operations on one key go to the shard that owns it (tcp)."""

import xxhash  # Debian: python3-xxhash

from client import Client, StoreError

MOVED, UNAVAILABLE, BUSY = 6, 7, 9
SINGLE = {"get", "put", "del", "exists", "meta", "touch", "incr"}


class DirectClient(Client):
    def __init__(self, *address):
        super().__init__(*address)
        self.shards = {}  # id -> connection; None: it cannot be used from here
        self.map = super().call("map")

    def shard(self, number):
        if number not in self.shards:
            url, = [s["url"] for s in self.map["shards"] if s["id"] == number]
            self.shards[number] = None
            if url.startswith("tcp://"):
                host, port = url[6:].rsplit(":", 1)
                try:
                    shard = Client(host, int(port))
                except OSError:
                    return None
                told = shard.call("map")  # is it the one?
                if (told["cluster"], told["shard"]) == (self.map["cluster"], number):
                    self.shards[number] = shard
        return self.shards[number]

    def call(self, operation, *arguments):
        if operation in SINGLE:
            key = arguments[0].encode() if isinstance(arguments[0], str) else arguments[0]
            slot = xxhash.xxh3_64_intdigest(key) >> 50
            owner, = [n for first, last, n in self.map["ranges"] if first <= slot <= last]
            shard = self.shard(owner)
            try:
                if shard is not None:
                    return shard.call(operation, *arguments)
            except ConnectionError:
                del self.shards[owner]
                raise  # the outcome is not known
            except StoreError as error:
                if error.args[0] not in (MOVED, UNAVAILABLE, BUSY):
                    raise
                if error.args[0] == MOVED:
                    self.map = super().call("map")
        return super().call(operation, *arguments)  # the coordinator knows the way


if __name__ == "__main__":
    db = DirectClient()
    for number in range(1000):
        db.call("put", "user:%d" % number, number)
    print(sum(db.call("get", "user:%d" % number) for number in range(1000)))
    print(sorted(number for number, shard in db.shards.items() if shard is not None))

"""A Shardcask client in a few lines: one connection, one request at a time."""

import random
import socket
import struct

import msgpack


class StoreError(Exception):
    """The arguments: the status, then what is wrong in words."""


class Client:
    def __init__(self, host="127.0.0.1", port=7700):
        self.stream = socket.create_connection((host, port), timeout=15)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.sendall(b"\0SP\0\0\x30\0\0")  # we ask (REQ) ...
        if self._receive(8) != b"\0SP\0\0\x31\0\0":  # ... they answer (REP)
            raise ConnectionError("this does not speak the protocol")
        self.request_id = random.getrandbits(31)

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.stream.recv(min(size - len(data), 1 << 20))
            if not part:
                raise ConnectionError("the connection broke: the outcome is not known")
            data += part
        return data

    def call(self, *request):
        self.request_id = (self.request_id + 1) & 0x7FFFFFFF
        head = struct.pack(">I", 0x80000000 | self.request_id)
        body = msgpack.packb(request)
        self.stream.sendall(struct.pack(">Q", len(head) + len(body)) + head + body)
        frame = self._receive(struct.unpack(">Q", self._receive(8))[0])
        if frame[:4] != head:
            raise ConnectionError("this is not the reply to our request")
        status, *results = msgpack.unpackb(frame[4:], strict_map_key=False)
        if status != 0:
            raise StoreError(status, *results)
        return results[0] if len(results) == 1 else results


if __name__ == "__main__":
    db = Client()
    print(db.call("put", "user:1", {"name": "Ada", "langs": ["c", "python"]}, {"ttl_ms": 60000}))
    print(db.call("get", "user:1"))
    print(db.call("incr", "visits", 5))
    print(db.call("batch", [["exists", "user:1"], ["get", "nobody"], ["del", "user:1"]]))
    try:
        db.call("put", "visits", 0, {"if_version": 0})  # only if absent
    except StoreError as error:
        print(error)
    cursor, found = None, 0
    while True:
        cursor, keys = db.call("scan", cursor, {"limit": 1000})
        found += len(keys)
        if cursor is None:
            break
    print(found, "keys in all")

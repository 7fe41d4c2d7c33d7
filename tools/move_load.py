"""Clients of a fleet that tools/figures-move measures, in a process of their own, and a process that
measures fsyncs beside them."""

import array
import multiprocessing
import os
import random
import select
import socket
import struct
import time

import msgpack

from move_fleet import connect, frame, slot_of

OK = 0


class Samples:
    """What clients saw: of each request its slot, whether it writes, when it was sent (monotonic) and
    how long it took, both in nanoseconds."""

    def __init__(self):
        self.slots = array.array("H")
        self.writes = array.array("B")
        self.sent = array.array("Q")
        self.took = array.array("Q")
        self.errors = {}  # status (None: connection lost) -> how often

    def add(self, other):
        self.slots += other.slots
        self.writes += other.writes
        self.sent += other.sent
        self.took += other.took
        for status, count in other.errors.items():
            self.errors[status] = self.errors.get(status, 0) + count

    def rows(self):
        return zip(self.slots, self.writes, self.sent, self.took)


class Load:
    """`connections` clients, one request outstanding each. `keys` of `value_size` bytes; of the requests
    `writes` (0 to 1) are puts. With `batch`, messages of that many puts, whose slot does not count."""

    def __init__(self, path, keys, connections, writes, value_size=1000, batch=0):
        self.stopping = multiprocessing.Event()
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(
            target=run, daemon=True,
            args=(self.stopping, theirs, path, keys, connections, writes, value_size, batch))
        self.process.start()

    def stop(self):
        """Returns the samples."""
        self.stopping.set()
        samples = self.ours.recv()
        self.process.join()
        return samples


def requests_of(keys, value_size, batch):
    """[(slot, get, put), ...], encoded."""
    value = os.urandom(value_size)
    if batch == 0:
        return [(slot_of(key), frame(["get", key]), frame(["put", key, value])) for key in keys]
    messages = []
    for _ in range(200):
        chosen = random.sample(keys, batch)
        messages.append((0, None, frame(["mput", [[key, value] for key in chosen]])))
    return messages


def run(stopping, out, path, keys, connections, writes, value_size, batch):
    requests = requests_of(keys, value_size, batch)
    samples = Samples()
    poll = select.epoll()
    clients = {}
    for _ in range(connections):
        connection = connect(path)
        poll.register(connection, select.EPOLLIN)
        clients[connection.fileno()] = [connection, b"", None]
    for client in clients.values():
        send(client, requests, writes)
    while clients and not stopping.is_set():
        for number, _ in poll.poll(0.1):
            client = clients[number]
            data = client[0].recv(1 << 20)
            if not data:
                samples.errors[None] = samples.errors.get(None, 0) + 1
                del clients[number]
                continue
            client[1] += data
            if is_whole(client[1]):
                note(samples, client, batch)
                send(client, requests, writes)
    out.send(samples)


def send(client, requests, writes):
    slot, get, put = random.choice(requests)
    write = get is None or random.random() < writes
    client[1] = b""
    client[2] = (slot, write, time.monotonic_ns())
    client[0].sendall(put if write else get)


def is_whole(data):
    return len(data) >= 9 and len(data) >= 9 + struct.unpack(">Q", data[1:9])[0]


def note(samples, client, batch):
    now = time.monotonic_ns()
    slot, write, sent = client[2]
    reply = msgpack.unpackb(client[1][13:], raw=False)
    statuses = [reply[0]] if batch == 0 or reply[0] != OK else [item[0] for item in reply[1]]
    for status in statuses:
        if status != OK:
            samples.errors[status] = samples.errors.get(status, 0) + 1
    samples.slots.append(slot)
    samples.writes.append(write)
    samples.sent.append(sent)
    samples.took.append(now - sent)


class Syncs:
    """Appends 4 KiB to a file and syncs it, twenty times a second: how long that takes, in ms."""

    def __init__(self, directory):
        self.stopping = multiprocessing.Event()
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=sync_often, daemon=True,
                                               args=(self.stopping, theirs, directory + "/syncs"))
        self.process.start()

    def stop(self):
        self.stopping.set()
        times = self.ours.recv()
        self.process.join()
        return times


def sync_often(stopping, out, path):
    times = []
    block = os.urandom(4096)
    with open(path, "wb", buffering=0) as file:
        while not stopping.wait(0.05):
            begun = time.monotonic_ns()
            file.write(block)
            os.fdatasync(file.fileno())
            times.append((time.monotonic_ns() - begun) / 1e6)
    os.unlink(path)
    out.send(times)

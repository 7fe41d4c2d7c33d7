"""Data that is not in memory: a fleet whose files were driven out of the page cache serves what it
stored, beside writes, in batches and in order. (Where a filesystem has no other place than memory
this tests the same with warm data.)"""

import os
import random

import harness
from harness import OK, SystemTest, Worker

KEYS = 4000
COUNTERS = 200
WORKERS = 4


def key_of(number):
    return b"key-%d" % number


def value_of(number):
    return random.Random(number).randbytes(400)


def evict(directory):
    """Drives the data files of a shard that is not running out of the page cache."""
    for name in os.listdir(directory):
        if name.endswith(".data"):
            fd = os.open(os.path.join(directory, name), os.O_RDONLY)
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


class ColdTest(SystemTest):
    def cold_fleet(self):
        fleet = self.fleet(shards=2)
        with fleet.client() as client:
            for first in range(0, KEYS, 500):
                client.ok("mput", [[key_of(n), value_of(n)] for n in range(first, first + 500)])
            for counter in range(COUNTERS):
                client.ok("incr", b"counter-%d" % counter)
        for number, shard in enumerate(fleet.shards, 1):
            shard.terminate()
            evict(fleet.dir + "/shard-%d" % number)
            shard.start()
        fleet.wait_up()
        return fleet

    def test_what_is_on_disk_only_is_served_beside_writes(self):
        fleet = self.cold_fleet()

        def work(worker):
            rand = random.Random(worker)
            with fleet.client() as client:
                for step in range(100):
                    numbers = [rand.randrange(KEYS) for _ in range(20)]
                    numbers.append(numbers[0])
                    replies = client.ok("mget", [key_of(n) for n in numbers])
                    self.assertEqual(replies, [[OK, value_of(n)] for n in numbers])
                    number = rand.randrange(KEYS)
                    self.assertEqual(client.ok("get", key_of(number)), value_of(number))
                    client.ok("put", b"new-%d-%d" % (worker, step), step)
                    counter = b"counter-%d" % rand.randrange(COUNTERS)
                    first, absent, read, second = client.ok("batch", [
                        ["incr", counter], ["get", b"absent"], ["get", counter],
                        ["incr", counter]])
                    self.assertEqual([first[0], absent[0], read[0], second[0]], [OK, 1, OK, OK])
                    self.assertGreaterEqual(read[1], first[1])
                    self.assertGreater(second[1], first[1])

        workers = [Worker(work, worker) for worker in range(WORKERS)]
        for worker in workers:
            worker.join()
        with fleet.client() as client:
            total = sum(value for _, value in client.ok(
                "mget", [b"counter-%d" % counter for counter in range(COUNTERS)]))
            self.assertEqual(total, COUNTERS + WORKERS * 100 * 2)
            self.assertEqual(client.ok("count"), KEYS + COUNTERS + WORKERS * 100)

    def test_reads_of_the_disk_are_counted(self):
        fleet = self.cold_fleet()
        with fleet.client() as client:
            for number in range(100):
                self.assertEqual(client.ok("get", key_of(number)), value_of(number))
            stats = client.ok("stats")
            self.assertEqual(stats["cold_reads"], sum(s["cold_reads"] for s in stats["shards"]))
            self.assertLessEqual(stats["cold_reads"], 2 * 100)  # sent back, or parked, once each

    def test_a_scan_reads_the_values_from_disk(self):
        fleet = self.cold_fleet()
        with fleet.client() as client:
            found = dict(client.scan(values=True, prefix=b"key-"))
        self.assertEqual(found, {key_of(n): value_of(n) for n in range(KEYS)})


if __name__ == "__main__":
    harness.main()

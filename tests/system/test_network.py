"""A fleet on several hosts: every process in a network namespace of its own, with an address of its own,
and links that are cut, slow, or lose packets while slots move between shards.

Clients are on a host of their own, some go through the coordinator, some to the shards directly, where
they may reach a shard that the coordinator does not.

A link is slowed down with a token bucket and made to lose packets by a firewall rule inside the host.
Needs root, and unshare, nsenter, ip, tc and nft; where those are missing the tests are skipped."""

import os
import random
import shutil
import subprocess
import sys
import time
import unittest

import harness
from contenders import Contenders
from harness import OK, Client, Daemon, program, wait_for
from workload import Load

SEED = int(os.environ.get("SC_TEST_SEED", random.randrange(1 << 30)))
TOOLS = ["unshare", "nsenter", "ip", "tc", "nft"]
BRIDGE = "10.77.0.1"
PORT = 7700
INSIDE = "SHARDCASK_TEST_NETWORK"  # set in the process that has a network namespace of its own


def command(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def may_run():
    """Why the tests cannot run here, or None."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return "needs " + ", ".join(missing)
    if subprocess.run(["unshare", "--net", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "needs the right to make network namespaces"
    return None


def enter_network():
    """Goes on in a network namespace of this test's own, in which nothing is left behind."""
    if INSIDE not in os.environ and may_run() is None:
        os.execvpe("unshare", ["unshare", "--net", sys.executable, "-B"] + sys.argv,
                   dict(os.environ, **{INSIDE: "1"}))


class Host:
    """A network namespace, linked to the bridge of the test's own one."""

    made = 0  # ever: a namespace lives on for a moment, with its link, when its processes have ended

    def __init__(self, number):
        self.address = "10.77.0.%d" % (10 + number)
        Host.made += 1
        self.link = "sc-host%d" % Host.made
        self.sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"],
                                        preexec_fn=harness.die_with_parent)
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink("/proc/%d/ns/net" % self.sleeper.pid) != own, "a namespace")
        self.wrapper = ["nsenter", "--net=/proc/%d/ns/net" % self.sleeper.pid, "--"]
        command("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns",
                str(self.sleeper.pid))
        command("ip", "link", "set", self.link, "master", "sc-bridge", "up")
        self.inside("ip", "addr", "add", self.address + "/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")
        self.inside("ip", "link", "set", "lo", "up")

    def inside(self, *argv):
        command(*self.wrapper, *argv)

    def cut(self):
        command("ip", "link", "set", self.link, "down")

    def slow(self):
        for run, device in ((command, self.link), (self.inside, "eth0")):
            run("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", "8mbit", "burst",
                "16kb", "latency", "100ms")

    def lose_packets(self):
        self.inside("nft", "add table inet loss; add chain inet loss in { type filter hook input "
                    "priority 0; }; add rule inet loss in numgen random mod 100 < 8 drop")

    def part_from(self, other):
        """The two hosts do not reach each other any more; everybody else reaches both."""
        self.inside("nft", "add table inet loss; add chain inet loss in { type filter hook input "
                    "priority 0; }; add rule inet loss in ip saddr %s drop" % other.address)

    def heal(self):
        command("ip", "link", "set", self.link, "up")
        for run, device in ((command, self.link), (self.inside, "eth0")):
            run("tc", "qdisc", "replace", "dev", device, "root", "pfifo", "limit", "1000")
        self.inside("nft", "flush", "ruleset")

    def close(self):
        command("ip", "link", "del", self.link)
        self.sleeper.kill()
        self.sleeper.wait()


class HostsFleet(harness.Fleet):
    """As harness.Fleet, each process on a host of its own; the client is on the bridge."""

    def __init__(self, case, shards, coordinator_flags=()):
        self.hosts = [case.closing(Host(number)) for number in range(shards + 2)]
        super().__init__(case, shards, start=False)
        host = self.hosts[0]
        self.url = "tcp://%s:%d" % (host.address, PORT)
        argv = [program("shardcask-coordinator"), "--dir", self.dir + "/coordinator", "--listen",
                self.url]
        for shard in self.shards:
            argv += ["--shard", shard.url]
        self.coordinator = case.own(Daemon("coordinator", argv + list(coordinator_flags),
                                           self.dir + "/coordinator.log", self.url, host.wrapper))
        self.start()

    def make_shard(self, number, wrapper=(), flags=()):
        host = self.hosts[number]
        name = "shard-%d" % number
        url = "tcp://%s:%d" % (host.address, PORT)
        argv = [program("shardcask-shard"), "--dir", "%s/%s" % (self.dir, name), "--listen", url]
        return self.case.own(Daemon(name, argv + self.shard_flags + list(flags),
                                    "%s/%s.log" % (self.dir, name), url, host.wrapper))


@unittest.skipIf(INSIDE not in os.environ, may_run() or "not inside a namespace")
class Network(harness.SystemTest):
    @classmethod
    def setUpClass(cls):
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", "sc-bridge", "type", "bridge")
        command("ip", "addr", "add", BRIDGE + "/24", "dev", "sc-bridge")
        command("ip", "link", "set", "sc-bridge", "up")

    def setUp(self):
        super().setUp()
        print("SC_TEST_SEED=%d" % SEED, flush=True)
        self.hosts = HostsFleet(self, 2, coordinator_flags=["--timeout", "2000"])
        with Client(self.hosts.url) as client:
            for at in range(0, 8000, 500):
                items = [["bulk-%d" % n, b"v%d" % n * 50] for n in range(at, at + 500)]
                self.assertTrue(all(r[0] == OK for r in client.ok("mput", items)))

    def idle(self):
        try:
            with Client(self.hosts.url) as client:
                shards = client.ok("map")["shards"]
                return client.ok("rebalance")["state"] == "idle" and \
                    {shard["state"] for shard in shards} == {"up"} and len(shards)
        except harness.Lost:
            return False

    def grow_while(self, harm, heal):
        """Adds a third shard while a link is in trouble; it must arrive when the trouble is over."""
        load = Load(self, [self.hosts.url], SEED, writers=2, keys=15)
        contenders = Contenders([self.hosts.url], SEED, clients=2, direct=3)
        load.wait_for_progress()
        third = self.hosts.make_shard(3)
        third.start()
        with Client(self.hosts.url) as client:
            client.ok("rebalance", {"bytes_per_second": 2 << 20})
            self.assertEqual(client.ok("shard.add", third.url), 3)
        wait_for(lambda: self.moved_some(3), "the first slots to arrive")
        harm()
        time.sleep(3)
        heal()
        with Client(self.hosts.url) as client:
            client.ok("rebalance", {"bytes_per_second": 0})
        wait_for(lambda: self.idle() == 3, "the slots to arrive", 60)
        load.wait_for_progress()
        load.stop()
        contenders.stop()
        bulk = [b"bulk-%d" % n for n in range(8000)]
        load.verify(self.hosts.url, bulk + contenders.keys)
        contenders.verify(self.hosts.url)
        print("%d operations in contention" % contenders.operations())
        with Client(self.hosts.url) as client:
            for at in range(0, 8000, 500):
                replies = client.ok("mget", bulk[at:at + 500])
                self.assertEqual(replies, [[OK, b"v%d" % n * 50] for n in range(at, at + 500)])

    def moved_some(self, number):
        with Client(self.hosts.url) as client:
            return any(owner == number for _, _, owner in client.ok("map")["ranges"])

    def test_a_cut_link_to_the_target(self):
        host = self.hosts.hosts[3]
        self.grow_while(host.cut, host.heal)

    def test_a_cut_link_to_a_source(self):
        host = self.hosts.hosts[1]
        self.grow_while(host.cut, host.heal)

    def test_a_source_that_only_clients_reach(self):
        """It must not answer for slots that have moved, nor take writes to those that are moving."""
        source, coordinator = self.hosts.hosts[1], self.hosts.hosts[0]
        self.grow_while(lambda: source.part_from(coordinator), source.heal)

    def test_a_cut_link_to_the_coordinator(self):
        host = self.hosts.hosts[0]
        self.grow_while(host.cut, host.heal)

    def test_slow_links(self):
        def harm():
            for host in self.hosts.hosts:
                host.slow()

        def heal():
            for host in self.hosts.hosts:
                host.heal()
        self.grow_while(harm, heal)

    def test_links_that_lose_packets(self):
        def harm():
            for host in self.hosts.hosts[1:]:
                host.lose_packets()

        def heal():
            for host in self.hosts.hosts[1:]:
                host.heal()
        self.grow_while(harm, heal)


if __name__ == "__main__":
    enter_network()
    harness.main()

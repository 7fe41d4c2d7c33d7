"""What tools/compare measures: rows, each a workload that several stores are put to in turn.

A row belongs to a setting (durability, size of values), for which all its stores are started and
filled once. Whoever asks has as many callers on each side; `claim` is the ratio to reach.
"""

import csv
import io
import json
import os
import subprocess
from dataclasses import dataclass

from compare_servers import BIN, Cluster, Redis, Shardcask, Trouble, Twemproxy


@dataclass(frozen=True)
class Setting:
    name: str
    sync: str  # of Shardcask; Redis has everysec or always to match
    value_size: int
    title: str


@dataclass(frozen=True)
class Contender:
    """A store and how it is asked. `us`: arguments of shardcask-bench, `them`: of redis-benchmark."""
    store: str  # a key of STORES
    label: str
    us: tuple = ()
    them: tuple = ()
    wanted: float = None  # the ratio to reach, see Row
    per_request: int = 1  # operations in what the load generator counts as one
    cpu: int = None  # the load generator is bound to it


@dataclass(frozen=True)
class Row:
    """The first contender is Shardcask, the second the peer. Each other peer is compared with the
    first; each other way to use Shardcask with the peer."""
    setting: Setting
    name: str
    title: str
    contenders: tuple
    measure: str = "ops"  # or "p50": smaller is better


STORES = {
    "shardcask": lambda base, sync: Shardcask(base, "shardcask", sync),
    "shardcask-bound": lambda base, sync: Shardcask(base, "shardcask-bound", sync, cpu=0),
    "shardcask-3": lambda base, sync: Shardcask(base, "shardcask-3", sync, shards=3, tcp=True),
    "twemproxy": lambda base, sync: Twemproxy(base, "twemproxy", sync),
    "twemproxy-bound": lambda base, sync: Twemproxy(base, "twemproxy-bound", sync, cpu=0),
    "redis": lambda base, sync: Redis(base, "redis", sync),
    "cluster": lambda base, sync: Cluster(base, "cluster", sync),
}

EVERYSEC = Setting("everysec", "1000", 100, "100 B, on disk within a second")
ALWAYS = Setting("always", "always", 100, "100 B, on disk before the answer")
MIDDLE = Setting("1000B", "1000", 1000, "1,000 B, on disk within a second")
LARGE = Setting("10kB", "1000", 10000, "10,000 B, on disk within a second")

SETTINGS = (EVERYSEC, ALWAYS, MIDDLE, LARGE)
US = "Shardcask"
BOUND = ", all on one CPU"
PROXY = "twemproxy + 2 Redis"
ONE_REDIS = "one Redis, asked directly"
DIRECT = "Shardcask, 3 shards asked directly"
CLUSTER = "Redis Cluster of 3"

BOTH = (("put", "set"), ("get", "get"))  # what shardcask-bench and redis-benchmark call it


def connections(count, batch=1):
    us = ("-c", str(count)) + (("--batch", str(batch)) if batch > 1 else ())
    them = ("-c", str(count)) + (("-P", str(batch)) if batch > 1 else ())
    return us, them


def pair(setting, name, title, us, them, wanted, redis_wanted=None):
    """Writes, and the same for reads; `wanted` is for each. `redis_wanted`: of one Redis as well."""
    rows = []
    for (ours, theirs), ratio in zip(BOTH, wanted):
        contenders = [Contender("shardcask", US, us=us + (ours,)),
                      Contender("twemproxy", PROXY, them=them + ("-t", theirs), wanted=ratio)]
        if redis_wanted is not None:
            contenders.append(Contender("redis", ONE_REDIS, them=them + ("-t", theirs),
                                        wanted=redis_wanted))
        rows.append(Row(setting, "%s-%s" % (name, theirs), "%s, %s" % (title, theirs),
                        tuple(contenders)))
    return rows


def many_keys(setting):
    """mput and mget of 10 keys; the keys are what is counted."""
    batch = ("--batch", "10")
    mget = ("MGET",) + ("key:__rand_int__",) * 10
    rows = []
    for ours, theirs, them in (("mput", "mset", ("-t", "mset")), ("mget", "mget", mget)):
        rows.append(Row(setting, theirs + "-10", "50 callers, 10 keys each, " + theirs, (
            Contender("shardcask", US, us=("-c", "50") + batch + (ours,)),
            Contender("twemproxy", PROXY, them=("-c", "50") + them, wanted=4, per_request=10),
            Contender("shardcask", US + ", 50 threads on one handle",
                      us=("-t", "50") + batch + (ours,), wanted=4),
            Contender("shardcask", US + ", 50 asynchronous calls",
                      us=("-a", "50") + batch + (ours,), wanted=4))))
    return rows


def one_caller(setting):
    rows = []
    for ours, theirs in BOTH:
        us, them = ("-c", "1", ours), ("-c", "1", "-t", theirs)
        rows.append(Row(setting, "one-" + theirs, "one caller, %s: p50 in us" % theirs, (
            Contender("shardcask", US, us=us),
            Contender("twemproxy", PROXY, them=them, wanted=1),
            Contender("shardcask-bound", US + BOUND, us=us, wanted=2, cpu=0),
            Contender("twemproxy-bound", PROXY + BOUND, them=them, cpu=0)), "p50"))
    return rows


def cluster(setting, name, title, callers):
    """Clients that know who owns a key, and ask that one: no coordinator, no proxy."""
    rows = []
    for ours, theirs in BOTH:
        us, them = callers
        rows.append(Row(setting, "%s-%s" % (name, theirs), "%s, %s" % (title, theirs), (
            Contender("shardcask-3", DIRECT, us=us + ("--direct", ours)),
            Contender("cluster", CLUSTER, them=them + ("-t", theirs), wanted=1.2))))
    return rows


def all_rows():
    fifty = connections(50)
    rows = pair(EVERYSEC, "50", "50 connections", *fifty, (1.3, 1.3))
    rows += pair(EVERYSEC, "threads-50", "50 threads on one handle", ("-t", "50"), fifty[1], (2, 2))
    rows += pair(EVERYSEC, "async-50", "50 asynchronous calls", ("-a", "50"), fifty[1], (3, 3))
    rows += pair(EVERYSEC, "50x64", "50 connections, 64 at a time", *connections(50, 64), (3.5, 3), 1.5)
    rows += many_keys(EVERYSEC)
    rows += cluster(EVERYSEC, "cluster-50", "50 connections to 3 servers", fifty)
    rows += one_caller(EVERYSEC)
    rows += pair(ALWAYS, "always-50", "50 connections", *fifty, (2, 1.3))
    rows += pair(ALWAYS, "always-50x16", "50 connections, 16 at a time", *connections(50, 16), (3, 1.3))
    for setting in (MIDDLE, LARGE):
        rows += pair(setting, setting.name + "-50", "50 connections", *fifty, (1.5, 1.2))
        rows += pair(setting, setting.name + "-50x16", "50 connections, 16 at a time",
                     *connections(50, 16), (1.5, 1.2))
    return rows


# ---- One measurement ----

@dataclass
class Result:
    ops: float  # a second
    p50_us: float
    p99_us: float


def bind(contender, arguments):
    return arguments if contender.cpu is None else ["taskset", "-c", str(contender.cpu)] + arguments


def run_ours(store, contender, keys, value_size, seconds):
    arguments = [os.path.join(BIN, "shardcask-bench"), "--url", store.url, "--json", "--no-load",
                 "--keys", str(keys), "--value-size", str(value_size)]
    if seconds >= 1:
        arguments += ["--seconds", str(round(seconds))]
    else:
        arguments += ["--requests", "2000"]
    output = subprocess.run(bind(contender, arguments + list(contender.us)), check=True,
                            stdout=subprocess.PIPE).stdout
    line = json.loads(output)
    if line["errors"] or line["missing"]:
        raise Trouble("%d errors, %d keys missing from Shardcask" % (line["errors"], line["missing"]))
    return Result(line["ops_per_second"], line["latency_us"]["p50"], line["latency_us"]["p99"])


def redis_benchmark(store, contender, keys, value_size, requests):
    arguments = ["redis-benchmark", "--csv", "--precision", "3", "-p", str(store.port), "-r",
                 str(keys), "-d", str(value_size), "-n", str(requests)]
    if isinstance(store, Cluster):
        arguments.append("--cluster")
    output = subprocess.run(bind(contender, arguments + list(contender.them)), check=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    lines = [line for line in output.splitlines() if line.startswith('"')]
    table = list(csv.reader(io.StringIO("\n".join(lines))))
    values = dict(zip(table[0], table[-1]))
    return Result(float(values["rps"]) * contender.per_request,
                  float(values["p50_latency_ms"]) * 1000, float(values["p99_latency_ms"]) * 1000)


class Runner:
    """Measures; remembers how fast each contender was, since redis-benchmark wants a number of
    requests instead of a time."""

    def __init__(self, keys_of, seconds):
        self.keys_of = keys_of
        self.seconds = seconds
        self.rates = {}

    def measure(self, row, contender, store):
        keys = self.keys_of(row.setting)
        size = row.setting.value_size
        if contender.us:
            return run_ours(store, contender, keys, size, self.seconds)
        place = (row.name, contender.label)
        if place not in self.rates:
            first = redis_benchmark(store, contender, keys, size, 2000)
            self.rates[place] = first.ops / contender.per_request
        requests = max(1000, int(self.rates[place] * self.seconds))
        result = redis_benchmark(store, contender, keys, size, requests)
        self.rates[place] = result.ops / contender.per_request
        return result

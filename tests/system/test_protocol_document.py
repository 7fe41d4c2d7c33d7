"""The sessions in docs/PROTOCOL.md: every command that is shown there, run against real daemons,
prints what is shown there. Versions differ from run to run, so numbers of 16 digits are all the
same here, and so is the 64-bit number in hexadecimal."""

import os
import re
import shutil
import tempfile
import unittest

import xxhash

import harness
from harness import run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHOWN_URL = "tcp://127.0.0.1:7700"


def section(title):
    with open(ROOT + "/docs/PROTOCOL.md", encoding="utf-8") as document:
        return document.read().split("\n## %s\n" % title)[1].split("\n## ")[0]


def indented(text):
    """The indented blocks of a text, joined."""
    lines = [line[4:] for line in text.split("\n") if line.startswith("    ")]
    return "\n".join(lines) + "\n"


def commands(text):
    """(command, output) for each "$ ..." of a session; a command goes on to the next line while
    bash would want more: behind a backslash or pipe, or inside of quotes."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], ""])
        elif re.search(r"[\\|]$", found[-1][0]) or found[-1][0].count("'") % 2 == 1:
            found[-1][0] += "\n" + line
        else:
            found[-1][1] += line + "\n"
    return found


def described(text):
    """The key that a row of the table of slots is about."""
    if text.startswith("byte"):
        return bytes.fromhex(text.split(" ", 1)[1])
    if text == "the 256 bytes 00 to ff":
        return bytes(range(256))
    times, key = re.fullmatch(r"(?:([0-9,]+) times )?`(.+?)`(?: \(UTF-8.*)?", text).groups()
    return key.encode() * int((times or "1").replace(",", ""))


def without_versions(text):
    text = re.sub(r"\b\d{16}\b", "<version>", text)
    return re.sub(r"\\xcf(\\x[0-9a-f]{2}){8}", r"\\xcf<version>", text)


class Document(harness.SharedFleetTest):
    def setUp(self):
        super().setUp()
        self.dir = tempfile.mkdtemp(prefix="shardcask-document-")
        self.addCleanup(shutil.rmtree, self.dir)

    @unittest.skipUnless(shutil.which("nngcat"), "nngcat is not installed (nng-utils)")
    def test_the_session_with_nngcat_is_as_shown(self):
        session = commands(indented(section("A session with nngcat")))
        self.assertGreater(len(session), 5)
        for command, output in session:
            command = command.replace(SHOWN_URL, self.fleet.url)
            ran = run(["bash", "-c", command], cwd=self.dir)
            self.assertEqual((ran.code, without_versions(ran.out)), (0, without_versions(output)),
                             "%s\n%s" % (command, ran.err))

    def test_the_client_in_python_prints_what_is_shown(self):
        self.db.ok("put", "hello", ["world", 42])
        with open(ROOT + "/docs/examples/client.py", encoding="utf-8") as source:
            text = source.read()
        self.assertIn("port=7700", text)
        path = self.dir + "/client.py"
        with open(path, "w", encoding="utf-8") as target:
            target.write(text.replace("port=7700", "port=%d" % self.fleet.port))
        ran = run(["/usr/bin/python3", "-B", path])
        shown = indented(section("A client in Python").split("```\n")[-1])
        self.assertEqual((ran.code, without_versions(ran.out)), (0, without_versions(shown)),
                         ran.err)

    def test_the_slots_are_those_of_the_map(self):
        rows = re.findall(r"^\| (.*) \| ([0-9a-f]{16}) \| (\d+) \|$", section("Slots"), re.M)
        self.assertEqual(len(rows), 16)
        for text, digest, slot in rows:
            key = described(text)
            self.assertEqual(xxhash.xxh3_64_hexdigest(key), digest, text)
            self.db.ok("put", key, 1)
            self.assertEqual(self.db.ok("meta", key)["slot"], int(slot), text)


class TcpFleet(harness.Fleet):
    """With shards that listen on tcp."""

    def make_shard(self, number, wrapper=(), flags=()):
        shard = super().make_shard(number, wrapper, flags)
        shard.url = "tcp://127.0.0.1:%d" % harness.free_port()
        shard.argv[shard.argv.index("--listen") + 1] = shard.url
        return shard


class DirectDocument(harness.SystemTest):
    def messages(self, url):
        with harness.Client(url) as client:
            return client.ok("stats")["messages"]

    def test_the_direct_client_in_python_goes_to_the_shards(self):
        fleet = TcpFleet(self, 2)
        directory = self.make_dir()
        for name in ("client.py", "direct.py"):
            with open(ROOT + "/docs/examples/" + name, encoding="utf-8") as source:
                text = source.read().replace("port=7700", "port=%d" % fleet.port)
            with open(directory + "/" + name, "w", encoding="utf-8") as target:
                target.write(text)
        before = self.messages(fleet.url)
        ran = run(["/usr/bin/python3", "-B", directory + "/direct.py"], cwd=directory)
        self.assertEqual((ran.code, ran.out), (0, "499500\n[1, 2]\n"), ran.err)
        self.assertLess(self.messages(fleet.url) - before, 10)
        self.assertEqual(fleet.client().ok("count"), 1000)


if __name__ == "__main__":
    harness.main()

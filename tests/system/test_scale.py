"""tools/scale from end to end, with as little as it takes."""

import json
import os
import signal
import subprocess

import harness
from harness import SOURCE, SystemTest, wait_for

SCALE = os.path.join(SOURCE, "tools", "scale")


class Scale(SystemTest):
    def setUp(self):
        super().setUp()
        self.stores, self.figures = self.make_dir(), self.make_dir()

    def command(self, *series):
        return [SCALE, "--quick", "--keys", "2k,100k", "--connections", "3",
                "--directory", self.stores, "--out", self.figures, *series]

    def test_measures_prints_draws_and_leaves_nothing(self):
        ran = subprocess.run(self.command("keys", "idle"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        with open(os.path.join(self.figures, "scale.json")) as file:
            series = json.load(file)["series"]
        self.assertEqual(list(series), ["keys", "idle"])
        self.assertEqual([point["x"] for point in series["keys"]["points"]], ["2k", "100k"])
        for name in ("fill", "worst", "a_key", "open", "coordinator"):
            self.assertGreater(series["keys"]["points"][1][name], 0, name)
        for name, one in series.items():
            self.assertTrue(os.path.exists(os.path.join(self.figures, "scale-%s.svg" % name)))
            for point in one["points"]:
                self.assertIn("| %s |" % point["x"], ran.stdout)
        self.assertEqual(os.listdir(self.stores), [])

    def test_leaves_nothing_when_it_is_stopped(self):
        with subprocess.Popen(self.command("connections"), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: self.running() >= 3, "the fleet to start")
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
            self.assertEqual(process.wait(), 130, said)
        # One that was just being started dies with its parent, which takes a moment.
        wait_for(lambda: self.running() == 0, "every process to end")
        self.assertEqual(os.listdir(self.stores), [])

    def running(self):
        """How many processes have the directory on their command line, tools/scale itself aside."""
        count = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as file:
                    words = file.read()
            except OSError:
                continue
            count += b"shardcask-" in words.split(b"\0")[0] and self.stores.encode() in words
        return count


if __name__ == "__main__":
    harness.main()

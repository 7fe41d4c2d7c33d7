"""What tools/compare makes of its measurements: medians, ratios, tables, plots. No server is started
here: `tools/compare --quick` does that."""

import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(SOURCE, "tools")
sys.path.insert(0, TOOLS)
sys.dont_write_bytecode = True

import compare_loads
import compare_plot
import compare_report
from compare_loads import EVERYSEC, Contender, Row

OURS = Contender("shardcask", "ours", us=("put",))
PEER = Contender("twemproxy", "peer", them=("-t", "set"), wanted=1.5)
OTHER_PEER = Contender("redis", "other peer", them=("-t", "set"), wanted=2)
OURS_BOUND = Contender("shardcask-bound", "ours, bound", us=("put",), wanted=3)
SPEED = Row(EVERYSEC, "speed", "a <speed>", (OURS, PEER, OTHER_PEER))
LATENCY = Row(EVERYSEC, "latency", "a latency", (OURS, PEER, OURS_BOUND), "p50")


def measurements(row, values):
    """values: contender -> what was measured, round by round."""
    return [{"row": row.name, "contender": contender.label, "round": number, "ops": value,
             "p50_us": value, "p99_us": value}
            for contender, found in values.items() for number, value in enumerate(found)]


def lines_of(row, found):
    table = compare_report.table(EVERYSEC, [row], found)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


class Report(unittest.TestCase):
    def test_shows_the_median_and_what_lies_around_it(self):
        lines = lines_of(SPEED, measurements(SPEED, {OURS: [3000, 1000, 5000, 2000, 90000]}))
        self.assertEqual(lines, [["a <speed>", "ours", "3,000 (1,000–90k)", "", ""]])

    def test_compares_peers_with_ours_by_their_medians(self):
        lines = lines_of(SPEED, measurements(SPEED, {OURS: [300, 310, 1], PEER: [150, 150, 9999],
                                              OTHER_PEER: [100]}))
        self.assertEqual(lines[1][3:], ["2.00", "1.5"])
        self.assertEqual(lines[2][3:], ["3.00", "2"])

    def test_compares_other_ways_to_use_ours_with_the_peer(self):
        lines = lines_of(LATENCY, measurements(LATENCY, {OURS: [80], PEER: [100], OURS_BOUND: [25]}))
        self.assertEqual(lines[1][3], "1.25")
        self.assertEqual(lines[2][3:], ["4.00", "3"])

    def test_leaves_out_what_was_not_measured(self):
        self.assertEqual(lines_of(SPEED, []), [])
        document = {"measurements": measurements(SPEED, {OURS: [1], PEER: [2]})}
        report = compare_report.report(compare_loads.SETTINGS, [SPEED, LATENCY], document)
        self.assertIn(EVERYSEC.title, report)
        self.assertNotIn("a latency", report)
        self.assertNotIn("other peer", report)


class Plot(unittest.TestCase):
    def test_has_a_bar_for_each_contender_that_was_measured(self):
        found = (measurements(SPEED, {OURS: [100, 120, 140], PEER: [60]}) +
                 measurements(LATENCY, {OURS: [5]}))
        chart = compare_plot.chart("A <title>", [SPEED, LATENCY], found)
        root = xml.etree.ElementTree.fromstring(chart)
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("A <title>", texts)
        self.assertIn("a <speed>", texts)
        self.assertIn("120", texts)
        bars = [element for element in root.iter("{http://www.w3.org/2000/svg}rect")
                if element.get("height") == "13.0"]
        self.assertEqual(len(bars), 3)
        self.assertLess(float(bars[1].get("width")), float(bars[0].get("width")))


class Rows(unittest.TestCase):
    def test_have_names_of_their_own_and_known_stores(self):
        rows = compare_loads.all_rows()
        self.assertEqual(len({row.name for row in rows}), len(rows))
        for row in rows:
            self.assertTrue(row.contenders[0].label.startswith(compare_loads.US))
            labels = [contender.label for contender in row.contenders]
            self.assertEqual(len(set(labels)), len(labels))
            for contender in row.contenders:
                self.assertIn(contender.store, compare_loads.STORES)
                self.assertNotEqual(bool(contender.us), bool(contender.them))

    def test_are_listed(self):
        listed = subprocess.run([os.path.join(TOOLS, "compare"), "--list"], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual([line.split()[0] for line in listed.splitlines()],
                         [row.name for row in compare_loads.all_rows()])


if __name__ == "__main__":
    unittest.main()

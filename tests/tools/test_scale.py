"""What tools/scale makes of its measurements, and its command line. Fleets are started by the system
test of the same name."""

import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(SOURCE, "tools")
sys.path.insert(0, TOOLS)
sys.dont_write_bytecode = True

import scale_report
import scale_series

POINTS = [{"x": "1", "put": [1000, 3000, 2000], "get": [5000], "put64": [70000], "get64": [90000],
           "put_p99": [10.4], "get_p99": [20], "coordinator": 3 << 20, "shards": 5 << 20},
          {"x": "2", "put": [4000], "shards": 1536 << 10}]


def lines_of(name, points):
    return [[cell.strip() for cell in line.strip("|").split("|")]
            for line in scale_report.table(name, points).splitlines()[2:]]


class Table(unittest.TestCase):
    def test_has_medians_in_units_for_people(self):
        self.assertEqual(lines_of("shards", POINTS)[0],
                         ["1", "2,000", "5,000", "70k", "90k", "10", "20", "3.0", "5.0"])

    def test_leaves_room_for_what_was_not_measured(self):
        self.assertEqual(lines_of("shards", POINTS)[1], ["2", "4,000"] + [""] * 6 + ["1.5"])


class Plot(unittest.TestCase):
    def chart(self, name, points):
        return xml.etree.ElementTree.fromstring(scale_report.chart(name, points))

    def test_has_a_mark_for_each_median(self):
        marks = list(self.chart("shards", POINTS).iter("{http://www.w3.org/2000/svg}circle"))
        self.assertEqual(len(marks), 2 + 1 + 1 + 1 + 1 + 2)

    def test_names_the_points(self):
        texts = [element.text
                 for element in self.chart("shards", POINTS).iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual(texts.count("2"), len(scale_report.SHOWN["shards"].panels))
        self.assertIn("memory, MiB:", texts)

    def test_takes_a_series_without_figures(self):
        for name in scale_report.SHOWN:
            self.chart(name, [])
            self.chart(name, [{"x": "1", "put": [0], "coordinator": 0}])

    def test_scales_end_above_what_is_shown(self):
        for most, top in ((1, 1), (0.3, 0.5), (1.2, 2), (99, 100), (100.5, 200), (2400000, 2500000)):
            self.assertAlmostEqual(scale_report.top_of_scale(most), top)


class CommandLine(unittest.TestCase):
    def refused(self, *arguments):
        ran = subprocess.run([sys.executable, os.path.join(TOOLS, "scale"), *arguments],
                             stderr=subprocess.PIPE, text=True)
        self.assertEqual(ran.returncode, 2, ran)
        return ran.stderr

    def test_refuses_what_it_does_not_know(self):
        self.assertIn("no series nothing", self.refused("nothing"))
        self.refused("--keys", "1,x")
        self.refused("--keys", "0")
        self.refused("--shards", "")
        self.refused("--repeats", "0")

    def test_short_numbers(self):
        self.assertEqual([scale_series.short(n) for n in (7, 1000, 1500, 20000000)],
                         ["7", "1k", "1.5k", "20M"])


if __name__ == "__main__":
    unittest.main()

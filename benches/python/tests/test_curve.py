"""Tests of the arithmetic behind the tables: `python -m unittest discover benches/python/tests`."""

import math
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.curve import at_recall, front, worth_timing  # noqa: E402


def point(recall, qps, family=0):
    return {"recall": recall, "qps": qps, "cpuSeconds": 1000 / qps, "family": family, "setting": {"ef": qps}}


def speed(p):
    return p["qps"]


class Curve(unittest.TestCase):
    def test_a_beaten_point_is_not_on_the_front(self):
        points = [point(0.9, 100), point(0.95, 120), point(0.99, 40), point(0.99, 30)]
        self.assertEqual([p["qps"] for p in front(points, speed)], [120, 40])

    def test_between_two_points_the_logarithms_are_linear(self):
        # Halfway from 0.9 to 0.99 in log(1 - recall) lies 1 - sqrt(0.1 * 0.01).
        middle = 1 - math.sqrt(0.1 * 0.01)
        found = at_recall([point(0.9, 400), point(0.99, 100)], middle, speed)
        self.assertAlmostEqual(found["qps"], 200)
        self.assertFalse(found["floor"])

    def test_the_ends_of_a_curve(self):
        points = [point(0.93, 400), point(0.98, 100)]
        self.assertEqual(at_recall(points, 0.9, speed)["qps"], 400)
        self.assertTrue(at_recall(points, 0.9, speed)["floor"])
        self.assertFalse(at_recall(points, 0.93, speed)["floor"])
        self.assertIsNone(at_recall(points, 0.99, speed))
        self.assertIsNone(at_recall([], 0.9, speed))

    def test_a_perfect_recall_can_be_an_end(self):
        found = at_recall([point(0.9, 400), point(1.0, 100)], 0.99, speed)
        self.assertTrue(100 < found["qps"] < 400)

    def test_the_points_to_time_hold_each_recall_between_them(self):
        points = [point(r, q) for r, q in [(0.5, 900), (0.85, 500), (0.94, 300), (0.96, 250), (0.992, 90), (0.999, 20)]]
        slow = point(0.93, 100, family=1)
        self.assertEqual([p["recall"] for p in worth_timing([*points, slow], [0.95], 0.8, 0.995, True)], [0.94, 0.96])
        wide = worth_timing([*points, slow], [0.95], 0.8, 0.99)
        self.assertEqual([p["recall"] for p in wide], [0.5, 0.85, 0.94, 0.96, 0.992])

    def test_an_engine_that_never_gets_there_keeps_its_best_point(self):
        self.assertEqual([p["recall"] for p in worth_timing([point(0.4, 9), point(0.5, 8)], [0.9], 0.8, 0.99)], [0.4, 0.5])


if __name__ == "__main__":
    unittest.main()

"""Arithmetic on measured points: which settings are worth timing, and the speed at a recall between two of them.

A point is a dictionary with `recall` and a cost or a speed; nothing here measures.
"""

import math

# A perfect recall has no logarithm: it stands for half a miss less than can be counted.
LEAST_MISS = 1e-5
# A sweep is a single pass: a setting that it shows this much slower than a better one may still be the faster.
DOUBT = 1.15


def front(points, speed):
    """The points that no other beats in both recall and speed, by rising recall."""
    kept = []
    for point in sorted(points, key=lambda p: (-p["recall"], -speed(p))):
        if not kept or speed(point) > speed(kept[-1]):
            kept.append(point)
    return kept[::-1]


def at_recall(points, recall, speed):
    """Speed at a recall: log(speed) is taken as linear in log(1 - recall) between two points of the front.

    A front that starts above the recall gives its fastest point, marked `floor`: there is no cheaper setting. One
    that ends below it gives None.
    """
    line = front(points, speed)
    if not line or line[-1]["recall"] < recall:
        return None
    high = next(i for i, point in enumerate(line) if point["recall"] >= recall)
    if high == 0:
        return {"qps": speed(line[0]), "floor": line[0]["recall"] > recall, "setting": line[0]["setting"]}
    low, high = line[high - 1], line[high]
    miss_low, miss_high = (math.log(max(1 - p["recall"], LEAST_MISS)) for p in (low, high))
    share = (math.log(1 - recall) - miss_low) / (miss_high - miss_low)
    qps = math.exp(math.log(speed(low)) * (1 - share) + math.log(speed(high)) * share)
    return {"qps": qps, "floor": False, "setting": high["setting"]}


def worth_timing(points, recalls, lowest, highest, only_targets=False):
    """The swept points to time: those not clearly beaten by another family's, from `lowest` recall to the first
    beyond `highest`.

    `points` have `cpuSeconds` of one pass. With `only_targets` just the neighbors of each of `recalls`.
    """
    near = [
        point
        for point in points
        if not any(
            other["family"] != point["family"]
            and other["recall"] >= point["recall"]
            and other["cpuSeconds"] * DOUBT < point["cpuSeconds"]
            for other in points
        )
    ]
    near.sort(key=lambda p: (p["recall"], p["cpuSeconds"]))
    chosen = set()
    for family in {p["family"] for p in near}:
        line = [p for p in near if p["family"] == family]
        for target in recalls if only_targets else (lowest, highest, *recalls):
            above = next((i for i, p in enumerate(line) if p["recall"] >= target), len(line) - 1)
            chosen.update(id(p) for p in line[max(above - 1, 0) : above + 1])
        if not only_targets:
            chosen.update(id(p) for p in line if lowest <= p["recall"] <= highest)
    return [p for p in near if id(p) in chosen]

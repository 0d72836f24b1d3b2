"""Draws the curves of a result: recall to the right on a logarithmic scale of misses, speed upward."""

import math
from html import escape

from .curve import front

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 44, 50
RECALLS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
SUBJECT = "chassis"
SUBJECT_COLOR = "#1f6feb"
COLORS = ["#c2410c", "#0f766e", "#7c3aed", "#b45309", "#be185d", "#4d7c0f", "#0369a1", "#6b7280"]
COLORS += ["#9f1239", "#166534", "#6d28d9", "#92400e", "#334155", "#0e7490"]
LABEL_HEIGHT = 14


def draw(result, mode="one"):
    """An SVG picture of queries per CPU second against recall, one line an engine."""
    curves = [(engine["engine"], _visible(engine["points"], mode)) for engine in result["engines"]]
    curves = [(name, points) for name, points in curves if points]
    speeds = [point[mode]["qps"] for _, points in curves for point in points] or [1, 10]
    low, high = min(speeds) / 1.2, max(speeds) * 1.2

    def x(recall):
        return _scale(-math.log(1 - recall), -math.log(0.2), -math.log(0.002), LEFT, WIDTH - RIGHT)

    def y(qps):
        return _scale(math.log(qps), math.log(low), math.log(high), HEIGHT - BOTTOM, TOP)

    about = result["set"]
    title = f"{about['name']}, {about['rows']} x {about['dimensions']}, {about['metric']} ({result['machine']['cpu']})"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 20, title, color="#111"),
        _text(LEFT, TOP - 8, "queries per CPU second, one core, one query a call"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, f"recall@{result['k']}", "middle"),
    ]
    for recall in RECALLS:
        parts.append(_line(x(recall), TOP, x(recall), HEIGHT - BOTTOM))
        parts.append(_text(x(recall), HEIGHT - BOTTOM + 17, f"{recall:g}", "middle"))
    for qps in _ticks(low, high):
        parts.append(_line(LEFT, y(qps), WIDTH - RIGHT, y(qps)))
        parts.append(_text(LEFT - 6, y(qps) + 4, f"{qps:,}", "end"))
    return "\n".join([*parts, *_curves(curves, mode, x, y), "</svg>"]) + "\n"


def _visible(points, mode):
    timed = [point for point in points if mode in point]
    line = front(timed, lambda point: point[mode]["qps"])
    return [point for point in line if RECALLS[0] <= point["recall"] <= RECALLS[-1]]


def _curves(curves, mode, x, y):
    """Lines and dots, and at the right the names in the order in which the lines end, none over another."""
    colors, labels = iter(COLORS * 2), []
    for name, points in curves:
        color, width = (SUBJECT_COLOR, 3) if name == SUBJECT else (next(colors), 1.5)
        places = [(x(point["recall"]), y(point[mode]["qps"])) for point in points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'
        yield from (f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{color}"/>' for a, b in places)
        labels.append((places[-1], name, color))
    bottom = TOP - LABEL_HEIGHT
    for (a, b), name, color in sorted(labels, key=lambda label: label[0][1]):
        bottom = max(b, bottom + LABEL_HEIGHT)
        yield _line(a + 3, b, WIDTH - RIGHT + 12, bottom, color, 0.35)
        yield _text(WIDTH - RIGHT + 16, bottom + 4, name, color=color)


def _ticks(low, high):
    """Round numbers from low to high: 1, 2 and 5 times powers of ten."""
    powers = [10**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    return [round(step * power) for power in powers for step in (1, 2, 5) if low <= step * power <= high]


def _scale(value, low, high, start, end):
    return start + (value - low) / (high - low) * (end - start)


def _line(x1, y1, x2, y2, color="#ddd", opacity=1):
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{color}" stroke-opacity="{opacity}"/>'


def _text(x, y, words, anchor="start", color="#555"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(words)}</text>'

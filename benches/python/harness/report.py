"""Puts measurements into words: the machine, the figures at equal recall, the tables as text and as Markdown."""

import datetime
import os
import platform
import statistics
import subprocess
from pathlib import Path

from .curve import at_recall
from .engine import EF_CONSTRUCTION, K, M
from .measure import RECALLS

SUBJECT = "chassis"
# A build shorter than this is no build: nothing is compared with it.
LEAST_BUILD = 0.5
MODES = {"one": "one query a call", "batch": "all queries in one call"}


def _output(*command, cwd=None):
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe(checkout):
    """The machine, the commit and the day."""
    commit = _output("git", "rev-parse", "HEAD", cwd=checkout)
    if commit and _output("git", "status", "--porcelain", cwd=checkout):
        commit += " and uncommitted changes"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "commit": commit,
        "date": datetime.date.today().isoformat(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memoryGiB": round(memory / 2**30),
            "os": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": platform.python_version(),
            "node": _output("node", "--version"),
            "loadAverage": [round(load, 2) for load in os.getloadavg()],
        },
    }


def result(about, entries, how):
    """Everything that was measured on one set, for the JSON file."""
    engines = [_engine(entry) for entry in entries]
    subject = next((engine for engine in engines if engine["engine"] == SUBJECT), None)
    for engine in engines:
        engine["ratios"] = _ratios(subject, engine) if subject and engine is not subject else None
    about = {key: value for key, value in about.items() if key != "directory"}
    fair = {"m": M, "efConstruction": EF_CONSTRUCTION}
    return {"schema": "chassis-bench-python/1", **how, "set": about, "k": K, "peers": fair, "engines": engines}


def _engine(entry):
    speeds = {}
    for mode in MODES:
        points = [point for point in entry.points if mode in point]
        if points:
            speeds[mode] = {str(r): at_recall(points, r, lambda p, mode=mode: p[mode]["qps"]) for r in RECALLS}
    build = entry.build and {**entry.build, "bytes": entry.build["fileBytes"] + entry.build["extraBytes"]}
    return {
        "engine": entry.name,
        "version": entry.version,
        "build": build,
        "openSeconds": entry.opened and entry.opened["openSeconds"],
        "memoryBytes": entry.memory,
        "atRecall": speeds,
        "points": sorted(entry.points, key=lambda point: point["recall"]),
        "failures": entry.failures,
    }


def _over(a, b):
    return a / b if a and b else None


def _ratios(subject, engine):
    """How many times as fast the subject is, and its cost in builds and bytes over the peer's."""

    def speed(one, mode, recall):
        found = one["atRecall"].get(mode, {}).get(str(recall))
        return found and found["qps"]

    def figure(one, name):
        return one["build"] and one["build"][name]

    peer = figure(engine, "cpuSeconds")
    return {
        "qps": {
            mode: {str(r): _over(speed(subject, mode, r), speed(engine, mode, r)) for r in RECALLS} for mode in MODES
        },
        "buildCpu": _over(figure(subject, "cpuSeconds"), peer) if peer and peer >= LEAST_BUILD else None,
        "bytes": _over(figure(subject, "bytes"), figure(engine, "bytes")),
    }


def _number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def _speed(found):
    return "-" if not found else f"{'>' if found['floor'] else ''}{found['qps']:.0f}"


def _setting(setting):
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def _speed_table(engines, mode):
    """One row an engine; None when none was asked this way."""
    head = ["engine", *(f"QPS at {r}" for r in RECALLS), *(f"{SUBJECT} x at {r}" for r in RECALLS)]
    head += ["setting at 0.95", "best recall", "spread"] + (["p50 / p99 us at 0.95"] if mode == "one" else [])
    rows = []
    for engine in engines:
        if mode not in engine["atRecall"]:
            continue
        at = engine["atRecall"][mode]
        ratios = engine["ratios"]["qps"][mode] if engine["ratios"] else {}
        middle = at["0.95"] and at["0.95"]["setting"]
        points = [point for point in engine["points"] if mode in point]
        row = [engine["engine"], *(_speed(at[str(r)]) for r in RECALLS), *(_number(ratios.get(str(r))) for r in RECALLS)]
        row += [_setting(middle) if middle else "-", f"{max(p['recall'] for p in points):.4f}"]
        row += [f"{100 * statistics.median(p[mode]['spread'] for p in points):.0f} %"]
        if mode == "one":
            point = next((p for p in points if p["setting"] == middle), None)
            row += [f"{point['p50Us']:.0f} / {point['p99Us']:.0f}" if point else "-"]
        rows.append(row)
    return (head, rows) if rows else None


def _cost_table(engines):
    """Builds and bytes."""
    head = ["engine", "version", "build CPU s", "wall s", "index MB", "memory MB"]
    head += [f"{SUBJECT} build x", f"{SUBJECT} bytes x"]
    rows = []
    for engine in engines:
        build, ratios = engine["build"], engine["ratios"] or {}
        if not build:
            continue
        row = [engine["engine"], engine["version"], *(_number(build[key], 1) for key in ("cpuSeconds", "wallSeconds"))]
        row += [_number(build["bytes"] / 1e6, 1), _number(engine["memoryBytes"] and engine["memoryBytes"] / 1e6, 0)]
        rows.append([*row, _number(ratios.get("buildCpu")), _number(ratios.get("bytes"))])
    return head, rows


def _promise_table(engines):
    """What `recall: x` brought; None where no engine has that option."""
    head = ["engine", "asked for", "recall", "QPS, one a call"]
    rows = [
        [engine["engine"], point["setting"]["recall"], f"{point['recall']:.4f}", f"{point['one']['qps']:.0f}"]
        for engine in engines
        for point in engine["points"]
        if "recall" in point["setting"] and "one" in point
    ]
    return (head, rows) if rows else None


def _parts(result):
    """Headings and tables, or lists of lines, in the order of the page."""
    engines = result["engines"]
    for mode, words in MODES.items():
        yield f"Queries per CPU second, {words}", _speed_table(engines, mode)
    yield "Recall asked for", _promise_table(engines)
    yield "Build and size", _cost_table(engines)
    failures = [[engine["engine"], failure] for engine in engines for failure in engine["failures"]]
    yield "Not measured", (["engine", "reason"], failures) if failures else None


def _title(result):
    about = result["set"]
    return f"{about['name']}: {about['rows']} x {about['dimensions']}, {about['metric']}, {about['queries']} queries"


def _notes(result):
    machine = result["machine"]
    return [
        f"{result['date']}, commit {result['commit']}. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memoryGiB']} GiB, {machine['os']}, Python {machine['python']}, Node {machine['node']}; "
        f"load average before: {machine['loadAverage'][0]}.",
        f"recall@{result['k']}, medians of {result['rounds']} alternating rounds, pinned to core {result['core']}. "
        f"Peers: m = {result['peers']['m']} (32 links in the base layer), efConstruction = "
        f"{result['peers']['efConstruction']} where they have such settings.",
        '">": the cheapest setting is already above that recall. "x": the figure of Chassis over the engine\'s. '
        '"spread": the largest figure over the smallest of the rounds, less one; median of the points. '
        '"index MB" counts the files and what a search needs beside them.',
    ]


def text(result):
    """The tables for a screen."""
    out = [_title(result)]
    for heading, table in _parts(result):
        if not table:
            continue
        head, rows = table
        cells = [[str(cell) for cell in row] for row in (head, *rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
                 for row in cells]  # fmt: skip
        out.append("\n".join([heading, "", lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))
    return "\n\n".join(out) + "\n"


def markdown(result):
    """The page of one set for `docs/benchmarks/`."""
    out = [f"## {_title(result)}", "```sh\n" + result["command"] + "\n```", *_notes(result)]
    out.append(f"![recall against speed]({result['set']['name']}.svg)")
    for heading, table in _parts(result):
        if table:
            head, rows = table
            lines = [head, ["---"] * len(head), *rows]
            out += [f"### {heading}", "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)]
    return "\n\n".join(out) + "\n"

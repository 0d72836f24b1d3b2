"""Benchmark sets: NAME.base.f32bin and NAME.query.f32bin (bare little-endian float32 rows, each with a .meta.json
beside it) and NAME.gt.ivecs (the exact neighbors of each query in the base, nearest first).

A set is a plain dictionary with the keys that `benches/lib/sets.mjs` uses, so that both kinds of worker read it.
"""

import json
from pathlib import Path

import numpy as np


def describe(directory, name, limit=None):
    """What a set is, without its vectors. `limit` takes only the first rows of the base."""
    base, query = (json.loads(Path(directory, f"{name}.{part}.meta.json").read_text()) for part in ("base", "query"))
    if base["dim"] != query["dim"]:
        raise ValueError(f"{name}: base has {base['dim']} dimensions, queries {query['dim']}")
    return {
        "directory": str(directory),
        "name": name,
        "rows": min(limit or base["rows"], base["rows"]),
        "allRows": base["rows"],
        "queries": query["rows"],
        "dimensions": base["dim"],
        "metric": base.get("metric", "cosine"),
        "sha256": base.get("sha256"),
    }


def _rows(about, part, count):
    file = Path(about["directory"], f"{about['name']}.{part}.f32bin")
    values = np.fromfile(file, "<f4", count * about["dimensions"])
    return _prepared(values.reshape(count, about["dimensions"]), about["metric"])


def _prepared(rows, metric):
    """Peers get unit rows for cosine, so that each may use whichever metric it does best: all give one order."""
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def base(about):
    """The rows to index."""
    return _rows(about, "base", about["rows"])


def queries(about):
    """The rows to search for."""
    return _rows(about, "query", about["queries"])


def truth(about, k, cache):
    """Ids of the exact `k` nearest rows of each query. For a set cut short they are computed once and kept."""
    file = Path(about["directory"], f"{about['name']}.gt.ivecs")
    if about["rows"] < about["allRows"]:
        file = Path(cache, f"{about['name']}-{about['rows']}-k{k}.gt.ivecs")
        if not file.exists():
            lists = _exact(base(about), queries(about), about["metric"], k)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.hstack([np.full((len(lists), 1), k), lists]).astype("<i4").tofile(file)
    lists = np.fromfile(file, "<i4")
    lists = lists.reshape(about["queries"], lists[0] + 1)[:, 1:]
    if lists.shape[1] < k:
        raise ValueError(f"{file.name} holds {lists.shape[1]} neighbors, not {k}")
    return lists[:, :k]


def _exact(rows, wanted, metric, k, block=4096):
    """Brute force in double precision; equal distances go to the lower row."""
    wanted = wanted.astype("f8")
    best, ids = np.empty((len(wanted), 0)), np.empty((len(wanted), 0), "i8")
    for start in range(0, len(rows), block):
        part = rows[start : start + block].astype("f8")
        distances = -(wanted @ part.T)
        if metric == "l2":
            distances += (part * part).sum(1) / 2
        best = np.hstack([best, distances])
        ids = np.hstack([ids, np.broadcast_to(np.arange(start, start + len(part)), distances.shape)])
        order = np.argsort(best, axis=1, kind="stable")[:, :k]
        best, ids = np.take_along_axis(best, order, 1), np.take_along_axis(ids, order, 1)
    return ids


def recall(found, lists):
    """The part of the true neighbors that was found. An id given twice counts once."""
    hits = sum(len(set(ids).intersection(true)) for ids, true in zip(found, lists.tolist(), strict=True))
    return hits / lists.size

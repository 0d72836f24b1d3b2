"""Exact batches of NumPy and FAISS, one thread each: what benches/exact.rs measures of Chassis, on the same data.

    pip install numpy faiss-cpu
    OPENBLAS_NUM_THREADS=1 python3 exact.py FOLDER

FOLDER holds glove100.base.f32bin and glove100.query.f32bin. Rows and queries are made unit vectors before the clock
starts; NumPy multiplies blocks of rows and keeps the best of each block with argpartition.
"""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np

DIMENSIONS = 100
QUERIES = 1000
K = 10
ROUNDS = 5
# Products of a block stay in the cache that argpartition reads them from; the best of 1,024 to 65,536.
BLOCK = 4096


def load(folder: Path, part: str) -> np.ndarray:
    rows = np.fromfile(folder / f"glove100.{part}.f32bin", dtype="<f4").reshape(-1, DIMENSIONS)
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def numpy_search(base: np.ndarray, queries: np.ndarray) -> np.ndarray:
    scores = np.full((len(queries), K), -np.inf, dtype=np.float32)
    ids = np.zeros((len(queries), K), dtype=np.int64)
    rows = np.arange(len(queries))[:, None]
    for start in range(0, len(base), BLOCK):
        products = queries @ base[start : start + BLOCK].T
        best = np.argpartition(products, -min(K, products.shape[1]), axis=1)[:, -K:]
        scores = np.concatenate([scores, products[rows, best]], axis=1)
        ids = np.concatenate([ids, best + start], axis=1)
        keep = np.argpartition(scores, -K, axis=1)[:, -K:]
        scores, ids = scores[rows, keep], ids[rows, keep]
    order = np.argsort(-scores, axis=1)
    return ids[rows, order]


def rate(name: str, work, queries: int) -> None:
    work()
    times = []
    for _ in range(ROUNDS):
        # Of the thread's CPU: the one thread there is, whatever else the machine does.
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    print(f"{name}: {queries / sorted(times)[ROUNDS // 2]:,.0f} queries per CPU second")


def main() -> None:
    folder = Path(sys.argv[1])
    base, queries = load(folder, "base"), load(folder, "query")[:QUERIES]
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(base)
    same = np.mean(numpy_search(base, queries) == index.search(queries, K)[1])
    print(f"{len(base)} rows, {len(queries)} queries, {same:.4f} of the answers equal; faiss {faiss.__version__}")
    rate("numpy", lambda: numpy_search(base, queries), len(queries))
    rate("faiss flat", lambda: index.search(queries, K), len(queries))
    # From 1.15 on FAISS leaves batches to the BLAS only above 128,000 queries; before it was 20.
    faiss.cvar.distance_compute_blas_threshold = 20
    rate("faiss flat over BLAS", lambda: index.search(queries, K), len(queries))


if __name__ == "__main__":
    main()

"""NumPy: a matrix product over all rows, and the k best of each query."""

import numpy as np

from ..engine import K, Engine


class NumPy(Engine):
    package = "numpy"
    exact = True

    def build(self, vectors, folder, threads):
        """There is no index: the rows are the index."""

    def open(self, folder, base):
        self.vectors = base()
        self.half_squares = (self.vectors**2).sum(1) / 2 if self.metric == "l2" else np.float32(0)

    def extra_bytes(self):
        return self.rows * self.dimensions * 4

    def families(self):
        return [[{}]]

    def use(self, setting):
        """Nothing to set."""

    def one(self, query):
        return self.batch(query[None])[0]

    def batch(self, queries):
        found = []
        for start in range(0, len(queries), 100):
            distances = self.half_squares - queries[start : start + 100] @ self.vectors.T
            nearest = np.argpartition(distances, K - 1, axis=1)[:, :K]
            order = np.argsort(np.take_along_axis(distances, nearest, 1), axis=1)
            found.append(np.take_along_axis(nearest, order, 1))
        return np.concatenate(found)

"""usearch: HNSW over f32 vectors."""

import numpy as np
from usearch.index import Index

from ..engine import EF_CONSTRUCTION, K, M, Engine


class Usearch(Engine):
    package = "usearch"

    def _new(self):
        metric = "ip" if self.metric == "cosine" else "l2sq"
        return Index(
            ndim=self.dimensions, metric=metric, dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION
        )

    def build(self, vectors, folder, threads):
        index = self._new()
        index.add(np.arange(self.rows, dtype=np.uint64), vectors, threads=threads)
        index.save(f"{folder}/index")

    def open(self, folder, base):
        self.index = self._new()
        self.index.load(f"{folder}/index")

    def use(self, setting):
        self.index.expansion_search = setting["ef"]

    def one(self, query):
        return self.index.search(query, K, threads=1).keys

    def batch(self, queries):
        return self.index.search(queries, K, threads=1).keys

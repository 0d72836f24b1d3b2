"""hnswlib: the reference implementation of HNSW, compiled for this processor."""

import hnswlib

from ..engine import EF_CONSTRUCTION, K, M, Engine


class Hnswlib(Engine):
    package = "hnswlib"

    def _new(self):
        return hnswlib.Index(space="ip" if self.metric == "cosine" else "l2", dim=self.dimensions)

    def build(self, vectors, folder, threads):
        index = self._new()
        index.init_index(max_elements=self.rows, M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        index.set_num_threads(threads)
        index.add_items(vectors, num_threads=threads)
        index.save_index(f"{folder}/index")

    def open(self, folder, base):
        self.index = self._new()
        self.index.load_index(f"{folder}/index")
        self.index.set_num_threads(1)

    def use(self, setting):
        self.index.set_ef(setting["ef"])

    def one(self, query):
        return self.index.knn_query(query, K, num_threads=1)[0][0]

    def batch(self, queries):
        return self.index.knn_query(queries, K, num_threads=1)[0]

"""Glass: HNSW over 8-bit codes with exact distances for the best candidates, rebuilt for AVX2 (`pyglass-portable`)."""

import glass

from ..engine import DEGREE, EF_CONSTRUCTION, K, Engine

CODES = "SQ8U"


class Glass(Engine):
    package = "pyglass-portable"

    def build(self, vectors, folder, threads):
        glass.set_num_threads(threads)
        index = glass.Index("HNSW", "L2", CODES, R=DEGREE, L=EF_CONSTRUCTION)
        index.build(vectors).save(f"{folder}/graph")

    def open(self, folder, base):
        glass.set_num_threads(1)
        # A searcher empties the graph it is given, so each takes its own.
        graph = glass.Graph()
        graph.load(f"{folder}/graph")
        self.index = glass.Searcher(graph, base(), "L2", CODES, "FP32")
        self.index.set_ef(EF_CONSTRUCTION)
        # Its tuner of prefetch distances, which runs at every start.
        self.index.optimize(1)

    def extra_bytes(self):
        # The file is the graph alone: codes of one byte a component and the f32 rows are made when it is opened.
        return self.rows * self.dimensions * (1 + 4)

    def use(self, setting):
        self.index.set_ef(setting["ef"])

    def one(self, query):
        return self.index.search(query, K)

    def batch(self, queries):
        return self.index.batch_search(queries, K, 1)[0].reshape(-1, K)

    def ids(self, found):
        return super().ids(found[0] if isinstance(found, tuple) else found)

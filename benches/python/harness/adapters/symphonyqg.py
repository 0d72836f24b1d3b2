"""SymphonyQG of the RaBitQ library: a graph whose nodes hold 1-bit codes of their neighbors, scanned 32 at a time."""

import rabitqlib

from ..engine import DEGREE, EF_CONSTRUCTION, K, Engine


class SymphonyQG(Engine):
    package = "rabitqlib"

    def _file(self, folder):
        return f"{folder}/index"

    def build(self, vectors, folder, threads):
        # On unit rows "l2" finds far more than "ip" at equal ef.
        index = rabitqlib.SymqgIndex(self.dimensions, DEGREE, "l2", self.options["bits"])
        index.build(vectors, EF_CONSTRUCTION, threads)
        index.save(self._file(folder))

    def open(self, folder, base):
        self.index = rabitqlib.SymqgIndex.load(self._file(folder))

    def one(self, query):
        return self.index.search(query[None], K, self.ef, 1)[0][0]

    def batch(self, queries):
        return self.index.search_batch(queries, K, self.ef, 1)[0]

"""chassisdb: HNSW over f32 vectors in one file. The effort of searches is fixed when a file is opened."""

import chassisdb

from ..engine import EF_CONSTRUCTION, K, M, Engine


class ChassisDb(Engine):
    package = "chassisdb"

    def _open(self, folder, ef, read_only):
        options = chassisdb.IndexOptions(
            max_connections=M,
            ef_construction=EF_CONSTRUCTION,
            ef_search=ef,
            metric="cosine" if self.metric == "cosine" else "euclidean",
        )
        return chassisdb.VectorIndex(f"{folder}/index", self.dimensions, options, read_only=read_only)

    def build(self, vectors, folder, threads):
        # It has no setting for threads and uses every core that the process may run on.
        index = self._open(folder, 50, False)
        index.add_batch(vectors)
        index.flush()
        index.close()

    def open(self, folder, base):
        self.folder, self.index = folder, None

    def use(self, setting):
        if self.index:
            self.index.close()
        self.index = self._open(self.folder, setting["ef"], True)

    def one(self, query):
        return self.index.search(query, K)

    def batch(self, queries):
        return self.index.search_batch(queries, K)[0]

    def ids(self, found):
        return [getattr(hit, "id", hit) for hit in found][:K] if isinstance(found, list) else super().ids(found)

"""zvec: HNSW over 7-bit codes with exact distances for the best candidates, or over f32 vectors."""

import numpy as np
import zvec

from ..engine import EF_CONSTRUCTION, EFS, K, M, Engine

# Candidates that get exact distances, as a multiple of k; 0 means all that the walk kept.
REFINE = [2.0, 4.0, 0.0]


class Zvec(Engine):
    package = "zvec"
    modes = ("one",)

    def _init(self, threads):
        zvec.init(query_threads=1, optimize_threads=threads, log_level=zvec.LogLevel.ERROR)

    def _coded(self):
        return self.options["codes"] != "UNDEFINED"

    def build(self, vectors, folder, threads):
        self._init(threads)
        # The uniform codes take "l2" alone; on unit rows its order is that of the inner product.
        metric = zvec.MetricType.L2 if self.metric == "l2" or self._coded() else zvec.MetricType.IP
        parameters = zvec.HnswIndexParam(
            metric_type=metric,
            m=M,
            ef_construction=EF_CONSTRUCTION,
            quantize_type=getattr(zvec.QuantizeType, self.options["codes"]),
            use_contiguous_memory=True,
            use_flat_contiguous_memory=True,
        )
        schema = zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, self.dimensions, index_param=parameters)
        place = f"{folder}/collection"
        collection = zvec.create_and_open(place, zvec.CollectionSchema("rows", vectors=schema))
        for start in range(0, self.rows, 1000):
            rows = range(start, min(start + 1000, self.rows))
            collection.insert([zvec.Doc(id=str(row), vectors={"v": vectors[row]}) for row in rows])
        collection.optimize(zvec.OptimizeOption(concurrency=threads))
        collection.flush()
        collection.close()

    def open(self, folder, base):
        self._init(1)
        self.index = zvec.open(f"{folder}/collection", zvec.CollectionOption(read_only=True))
        self.row_of = [int(name) for name in self.index.resolve_internal_ids(np.arange(self.rows))]

    def families(self):
        if not self._coded():
            return super().families()
        return [[{"ef": ef, "refine": refine} for ef in EFS] for refine in REFINE]

    def use(self, setting):
        refine = {"is_using_refiner": True, "scale_factor": setting["refine"]} if "refine" in setting else {}
        self.how = zvec.HnswQueryParam(ef=setting["ef"], **refine)

    def one(self, query):
        # The call for low latency: it gives internal ids, which `ids` translates outside the clock.
        return self.index.query_internal_ids(zvec.Query("v", vector=query, param=self.how), topk=K)

    def ids(self, found):
        return [self.row_of[internal] for internal in found if internal >= 0]

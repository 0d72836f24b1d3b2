"""ScaNN: partitions, 4-bit anisotropic codes, exact distances for the best candidates."""

import math

import scann

from ..engine import K, Engine

LEAVES = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
REORDER = [30, 100, 300]


class Scann(Engine):
    package = "scann"

    def build(self, vectors, folder, threads):
        inner = self.metric == "cosine"
        leaves = 2 ** round(math.log2(2 * math.sqrt(self.rows)))
        builder = scann.scann_ops_pybind.builder(vectors, K, "dot_product" if inner else "squared_l2")
        builder = builder.set_n_training_threads(threads)
        builder = builder.tree(leaves, 10, training_sample_size=min(self.rows, 250_000))
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2) if inner else builder.score_ah(2)
        builder.reorder(100).build().serialize(folder)

    def open(self, folder, base):
        self.index = scann.scann_ops_pybind.load_searcher(folder)

    def families(self):
        return [[{"leaves": leaves, "reorder": reorder} for leaves in LEAVES] for reorder in REORDER]

    def use(self, setting):
        self.how = {"leaves_to_search": setting["leaves"], "pre_reorder_num_neighbors": setting["reorder"]}

    def one(self, query):
        return self.index.search(query, **self.how)[0]

    def batch(self, queries):
        return self.index.search_batched(queries, **self.how)[0]

"""FAISS: its graph with and without 8-bit codes, its inverted lists with 4-bit fast scan, and its exact scan."""

import math

import faiss

from ..engine import EF_CONSTRUCTION, EFS, K, M, Engine

PROBES = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]


class Faiss(Engine):
    package = "faiss-cpu"
    search_parameters = None

    def _new(self):
        metric = faiss.METRIC_INNER_PRODUCT if self.metric == "cosine" else faiss.METRIC_L2
        lists = 2 ** round(math.log2(4 * math.sqrt(self.rows)))
        factory = self.options.get("factory", "Flat").format(m=M, lists=lists, half=self.dimensions // 2)
        return faiss.index_factory(self.dimensions, factory, metric)

    def _prepare(self, index):
        """Options of the build that a factory string cannot carry."""

    def build(self, vectors, folder, threads):
        faiss.omp_set_num_threads(threads)
        index = self._new()
        self._prepare(index)
        index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, f"{folder}/index")

    def open(self, folder, base):
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(f"{folder}/index")

    def _use(self, parameters, refine):
        """`refine` times k candidates get exact distances, where the index does that at all."""
        self.inner = parameters
        self.search_parameters = (
            faiss.IndexRefineSearchParameters(k_factor=refine, base_index_params=parameters) if refine else parameters
        )

    def one(self, query):
        return self.index.search(query[None], K, params=self.search_parameters)[1][0]

    def batch(self, queries):
        return self.index.search(queries, K, params=self.search_parameters)[1]


class Hnsw(Faiss):
    def _prepare(self, index):
        graph = faiss.downcast_index(index.base_index) if "refine" in self.options else index
        graph.hnsw.efConstruction = EF_CONSTRUCTION

    def families(self):
        if "refine" not in self.options:
            return [[{"ef": ef} for ef in EFS]]
        return [[{"ef": ef, "refine": refine} for ef in EFS] for refine in self.options["refine"]]

    def use(self, setting):
        self._use(faiss.SearchParametersHNSW(efSearch=setting["ef"]), setting.get("refine"))


class IvfPq(Faiss):
    def families(self):
        return [[{"probe": probe, "refine": refine} for probe in PROBES] for refine in self.options["refine"]]

    def use(self, setting):
        self._use(faiss.SearchParametersIVF(nprobe=setting["probe"]), setting["refine"])


class Flat(Faiss):
    exact = True

    def families(self):
        return [[{}]]

    def use(self, setting):
        self.search_parameters = None

"""What an engine must offer to be measured. One class per library stands in `adapters`."""

from importlib.metadata import version

import numpy as np

K = 10
# Candidate lists of a graph search, from the cheapest on.
EFS = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 192, 224, 272, 320]
EFS += [384, 448, 544, 640, 768, 896, 1088, 1280, 1536, 1792, 2176, 2560]
# The graph that all peers build, in the words of HNSW: 16 links a layer, 32 in the base layer.
M, DEGREE, EF_CONSTRUCTION = 16, 32, 200


class Engine:
    """An index over `rows` vectors. For `cosine` sets all vectors come with length 1."""

    # The package whose version is reported.
    package = None
    # Ways it can be asked: `one` query a call, or a `batch` in one call.
    modes = ("one", "batch")
    # Whether it scans all rows, so that the cost of a query does not depend on the query.
    exact = False

    def __init__(self, metric, dimensions, rows, **options):
        self.metric, self.dimensions, self.rows, self.options = metric, dimensions, rows, options

    def version(self):
        """What is measured."""
        return version(self.package)

    def build(self, vectors, folder, threads):
        """From vectors in memory to a complete index in `folder`, which exists and is empty."""
        raise NotImplementedError

    def open(self, folder, base):
        """Makes ready to search. `base()` gives the vectors, for those whose files do not hold them."""
        raise NotImplementedError

    def extra_bytes(self):
        """Bytes that a search needs beside the files of the index."""
        return 0

    def families(self):
        """Lists of settings, each in rising cost."""
        return [[{"ef": ef} for ef in EFS]]

    def use(self, setting):
        """Searches that follow run with this setting."""
        self.ef = setting["ef"]

    def one(self, query):
        """Searches for one query, given as a row of a C-contiguous array."""
        raise NotImplementedError

    def batch(self, queries):
        """Searches for all rows of an array in one call."""
        raise NotImplementedError

    def ids(self, found):
        """Row numbers in what `one` or a row of `batch` returned."""
        return np.asarray(found).ravel()[:K].tolist()

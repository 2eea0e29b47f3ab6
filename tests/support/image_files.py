"""Small files of images of every kind that is read."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

GREY = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 3, 6, 5), dtype=np.uint8)
CLASSES = np.array([0, 1, 2] * 4)
NAMES = ["boot", "Trouser", "bag"]


def picture(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """One picture, shape (h, w), (3, h, w) or (h, w, c), as a file."""
    sink = io.BytesIO()
    pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 and len(pixels) == 3 else pixels
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as IDX."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder: Path, images: np.ndarray = GREY, labels: np.ndarray | None = CLASSES, end: str = "") -> str:
    """Images and labels beside each other, under the names that MNIST has."""
    pack = gzip.compress if end else bytes
    folder.mkdir(exist_ok=True)
    path = folder / f"train-images-idx3-ubyte{end}"
    path.write_bytes(pack(idx(images)))
    if labels is not None:
        (folder / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels.astype(np.uint8))))
    return str(path)


def write_pictures(folder: Path, images: np.ndarray = GREY, classes: list[str] | None = NAMES) -> str:
    """A folder of PNG files, in a folder for each class, so that their order is that of the classes."""
    for i, pixels in enumerate(images):
        parent = folder / classes[CLASSES[i]] if classes else folder
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"{i:02}.png").write_bytes(picture(pixels))
    return str(folder)


def encoded(images: np.ndarray = GREY, names: list[str] = NAMES, **columns: Any) -> pa.Table:
    """Structures of bytes and path, as Hugging Face's library writes them, with the names of the classes."""
    values = [{"bytes": picture(pixels), "path": f"{i}.png"} for i, pixels in enumerate(images)]
    table = pa.table({"image": values, "label": CLASSES[: len(images)]} | columns)
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def tensors(images: np.ndarray = GREY) -> pa.Table:
    """A column of fixed-shape tensors beside one of labels in words."""
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images))
    return pa.table({"label": [NAMES[code] for code in CLASSES], "image": column})


def write_parquet(path: Path, table: pa.Table) -> str:
    """A table as a Parquet file of several row groups."""
    pq.write_table(table, path, row_group_size=5, write_page_checksum=True)
    return str(path)


KINDS: dict[str, Callable[[Path], str]] = {
    "idx": lambda folder: write_idx(folder),
    "idx.gz": lambda folder: write_idx(folder, end=".gz"),
    "pictures": lambda folder: write_pictures(folder / "pictures"),
    "encoded": lambda folder: write_parquet(folder / "encoded.parquet", encoded()),
    "tensors": lambda folder: write_parquet(folder / "tensors.parquet", tensors()),
}
"""Sources of the grey images with their labels."""

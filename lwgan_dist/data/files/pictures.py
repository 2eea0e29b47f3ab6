"""Pictures (PNG, JPEG), in a folder or as bytes in a table: decoded one by one, all of one size and mode.

Grey ones become rows of shape (h, w), coloured ones of shape (3, h, w): channels first, as networks take them. A
picture that says how it is to be turned (EXIF) is turned.
"""

import io
import math
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lwgan_dist.data.blocks import Array, Filling
from lwgan_dist.data.files.bounds import require_room, require_width
from lwgan_dist.data.files.loading import (
    Labels,
    Loaded,
    ReadOptions,
    absence_rejected,
    damage_rejected,
    files_below,
    numbered_columns,
    quoted,
)
from lwgan_dist.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

_COPIES = 4
"""Of the pixels of a picture that exist at a time while it is decoded and turned."""

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG_PIXELS, _JPEG_END = 0xDA, b"\xff\xd9"

_REFUSED = {
    "P": "a palette", "PA": "a palette", "LA": "an alpha channel", "La": "an alpha channel", "RGBA": "an alpha channel",
    "RGBa": "an alpha channel", "CMYK": "CMYK colours", "1": "1 bit a pixel",
}  # fmt: skip
"""Pillow's modes that are not read, in words."""


class Picture(NamedTuple):
    """A picture and its name for messages."""

    content: bytes
    name: str


def picture_files(folder: str) -> list[str]:
    """All pictures in a folder and below it, in the order of their names; without what begins with ``.`` or ``_``."""
    return sorted(files_below(folder, PICTURE_SUFFIXES))


def read_pictures(path: str, options: ReadOptions) -> Loaded:
    """The pictures in a folder and below it, in the order of their names; the numbers of a row are called x1..xp.

    Args:
        path: the folder.
        options: columns are refused: a picture has none to choose.

    Raises:
        DataError: a picture is damaged, or not of 8 bits in grey or RGB, or two are of different sizes or modes.
        ConfigError: Pillow is not installed.
    """
    if options.columns is not None or options.drop is not None:
        raise DataError(f"{path}: data.columns chooses columns of a table, as data.drop does; these are pictures")
    files = picture_files(path)
    packed = sum(os.path.getsize(file) for file in files)
    rows = decoded((Picture(_content(file), file) for file in files), len(files), packed, path)

    def place(row: int) -> str:
        return f"row {row + 1} ({files[row]})"

    return Loaded(rows, numbered_columns(rows[0].size), place, are_pictures=True)


def _content(file: str) -> bytes:
    with absence_rejected(file):
        return Path(file).read_bytes()


def folder_labels(path: str) -> Labels | None:
    """The class of each picture: the folder below ``path`` in which it lies, numbered in the order of their names; None
    where a picture lies in no folder.

    Raises:
        DataError: the name of a folder is not UTF-8.
    """
    parts = [Path(file).relative_to(path).parts for file in picture_files(path)]
    if not parts or any(len(part) < 2 for part in parts):
        return None
    names = sorted({part[0] for part in parts})
    for name in names:
        if name != os.fsencode(name).decode(errors="replace"):
            raise DataError(f"{path}: the name of the folder {quoted(name)} is not UTF-8; rename it")
    code = {name: i for i, name in enumerate(names)}
    return Labels(np.array([code[part[0]] for part in parts]), dict(enumerate(names)))


def decoded(pictures: Iterable[Picture], count: int, packed: int, source: str) -> Array:
    """The rows of so many pictures, uint8, shape (count, h, w) or (count, 3, h, w), maybe mapped.

    Args:
        pictures: in the order of the rows.
        count: of them.
        packed: bytes that all of them take on the disk.
        source: the file or folder, for messages.

    Raises:
        DataError, ConfigError: see `read_pictures`.
    """
    try:
        import PIL  # noqa: F401 - for its message
    except ImportError:
        raise ConfigError("pictures are read with Pillow: pip install 'lwgan-dist[images]'") from None
    rows, first = None, None
    for picture in pictures:
        pixels = _pixels(picture)
        if rows is None or first is None:
            require_width(pixels.size, source, packed)
            require_room(source, count * pixels.size, packed, f"its {count:,} pictures")
            rows, first = Filling(count, pixels.shape, pixels.dtype), (picture.name, pixels.shape)
        elif pixels.shape != first[1]:
            raise DataError(
                f"{picture.name}: is {_described(pixels.shape)}, but {first[0]} is {_described(first[1])}: all have "
                "to be of one size and mode"
            )
        rows.put(pixels[None])
    if rows is None:
        raise DataError(f"{source}: no rows")
    return rows.rows()


def _described(shape: tuple[int, ...]) -> str:
    return f"{shape[-2]} x {shape[-1]} pixels, {'RGB' if len(shape) == 3 else 'grey'}"


def _pixels(picture: Picture) -> Array:
    """The pixels of one picture, shape (h, w) or (3, h, w)."""
    with _damage_rejected(picture):
        image = _opened(picture.content)
        size = _COPIES * math.prod(image.size) * len(image.getbands())
        require_room(picture.name, size, len(picture.content), "a picture of {} x {} pixels".format(*image.size))
    if what := _unfit(image, picture.content):
        raise DataError(f"{picture.name}: has {what}; pictures have to be grey or RGB, of 8 bits a channel: convert it")
    with _damage_rejected(picture):
        pixels = np.asarray(_turned(image))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels


@contextmanager
def _damage_rejected(picture: Picture) -> Iterator[None]:
    """As `damage_rejected`, with what Pillow raises beyond that."""
    from PIL import Image, UnidentifiedImageError

    with damage_rejected(picture.name, "PNG" if picture.content.startswith(_PNG) else "JPEG"):
        try:
            yield
        except UnidentifiedImageError:
            raise ValueError("neither PNG nor JPEG") from None
        except (Image.DecompressionBombError, LookupError, struct.error) as error:
            raise ValueError(str(error)) from None


def _opened(content: bytes) -> "Image":
    """A picture of which the whole file is there; its pixels are not decoded yet."""
    from PIL import Image

    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    if image.format == "PNG":
        image.verify()  # the checksums, to the end of the file; it has to be opened anew
        image = Image.open(io.BytesIO(content), formats=("PNG",))
    ended = _PNG_END in content if image.format == "PNG" else _jpeg_ends(content)
    if not ended:
        raise ValueError("it is cut: its end is missing")
    return image


def _jpeg_ends(content: bytes) -> bool:
    """Whether the end of a JPEG stands behind the beginning of its pixels: a thumbnail before has an end of its own."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1] != _JPEG_PIXELS:
        is_fill = content[at + 1] == 0xFF  # any number of them may stand before a marker
        at += 1 if is_fill else 2 + int.from_bytes(content[at + 2 : at + 4])
    return content.find(_JPEG_END, at) >= 0


def _unfit(image: "Image", content: bytes) -> str | None:
    """What a picture has that is not read, in words."""
    if content.startswith(_PNG) and content[24] == 16:  # Pillow would take the upper eight of RGB without a word
        return "16 bits a channel"
    if image.mode not in ("L", "RGB"):
        return _REFUSED.get(image.mode, f"pixels of the mode {image.mode}")
    if "transparency" in image.info:
        return "transparent pixels"
    return "several frames" if getattr(image, "n_frames", 1) > 1 else None


def _turned(image: "Image") -> "Image":
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)

"""Images of every kind are read alike; labels choose among them; what cannot be read is refused in one line."""

import errno
import gzip
import io
import os
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import (
    CLASSES,
    COLOUR,
    GREY,
    KINDS,
    NAMES,
    encoded,
    idx,
    picture,
    tensors,
    write_idx,
    write_parquet,
    write_pictures,
)
from PIL import Image

from lwgan_dist.config import ArrayData, ManifoldData, RunConfig, TableData
from lwgan_dist.data import blocks
from lwgan_dist.data.files import idx_files
from lwgan_dist.data.files.loading import files_below
from lwgan_dist.data.files.tables import read_labels, read_table
from lwgan_dist.data.sample import load_sample
from lwgan_dist.errors import ConfigError, DataError

BY_CLASS = np.argsort([NAMES[code] for code in CLASSES], kind="stable")
"""The order of the pictures in folders of classes."""


def refused(path, *parts, error=DataError, **options):
    """The message, one line that begins with the path and holds the parts."""
    with pytest.raises(error) as caught:
        read_table(str(path), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message
    return message


# what is read ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_grey_images_keep_their_bytes_and_shape(tmp_path, kind):
    table = read_table(KINDS[kind](tmp_path))
    assert table.rows.dtype == np.uint8
    assert np.array_equal(table.rows, GREY[BY_CLASS] if kind == "pictures" else GREY)
    assert len(table.columns) == 30


@pytest.mark.parametrize("kind", ["pictures", "encoded", "tensors", "tensors last", "npy last", "binary", "arrow"])
def test_coloured_images_have_the_channels_first(tmp_path, kind):
    options = {"channels": "last"} if "last" in kind else {}
    last = np.ascontiguousarray(np.moveaxis(COLOUR, 1, -1))
    if kind == "pictures":
        path = write_pictures(tmp_path / "p", COLOUR, None)
    elif kind == "encoded":
        path = write_parquet(tmp_path / "t.parquet", encoded(COLOUR, other=["x"] * 12))
    elif kind == "binary":
        path = write_parquet(tmp_path / "t.parquet", pa.table({"img": [picture(pixels) for pixels in COLOUR]}))
    elif kind == "arrow":
        path = str(tmp_path / "t.arrow")
        with pa.ipc.new_stream(path, encoded(COLOUR).schema) as writer:
            writer.write_table(encoded(COLOUR), max_chunksize=5)
    elif kind == "npy last":
        path = str(tmp_path / "t.npy")
        np.save(path, last)
    else:
        path = write_parquet(tmp_path / "t.parquet", tensors(last if options else COLOUR))
    table = read_table(path, **options)
    assert np.array_equal(table.rows, COLOUR)
    assert table.rows.flags.c_contiguous
    assert len(set(table.columns)) == 90


def test_jpegs_are_decoded_and_turned_as_they_say(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    smooth = np.add.outer(np.arange(0, 160, 10), np.arange(0, 80, 5)).astype(np.uint8)
    for name, options in (("a.jpg", {}), ("b.JPEG", {"exif": exif})):
        (tmp_path / name).write_bytes(picture(smooth, "JPEG", quality=100, **options))
    straight, turned = read_table(str(tmp_path)).rows.astype(int)
    assert np.abs(straight - smooth).max() < 4
    assert np.array_equal(turned, np.rot90(straight, -1))


def test_a_jpeg_may_have_fill_bytes_before_its_markers(tmp_path):
    plain, thumbnail = picture(GREY[0], "JPEG"), b"\xff\xff\xff\xe1\0\6\xff\xd8\xff\xd9"
    filled = plain[:2] + thumbnail + b"\xff\xff" + plain[2:]
    for name, content in (("a.jpg", plain), ("b.jpg", filled), ("c.jpg", picture(GREY[1], "JPEG"))):
        (tmp_path / name).write_bytes(content)
    one, other, _ = read_table(str(tmp_path)).rows
    assert np.array_equal(one, other)
    (tmp_path / "b.jpg").write_bytes(filled[:-2])
    refused(tmp_path, "b.jpg: not a readable JPEG file (it is cut")


def test_hidden_files_are_left_out_and_parquet_files_come_before_pictures(tmp_path):
    write_pictures(tmp_path, classes=None)
    (tmp_path / ".x.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    assert np.array_equal(read_table(str(tmp_path)).rows, GREY)
    write_parquet(tmp_path / "t.parquet", tensors(GREY[::-1]))
    assert np.array_equal(read_table(str(tmp_path)).rows, GREY[::-1])


def test_a_class_may_be_a_link_to_a_folder(tmp_path):
    path = write_pictures(tmp_path / "p", classes=["a", "b", "c"])
    os.rename(tmp_path / "p" / "b", tmp_path / "elsewhere")
    (tmp_path / "p" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "p" / "c" / "a").symlink_to(tmp_path / "p" / "a")  # in another class too, which is no loop
    rows = np.concatenate([GREY[0::3], GREY[1::3], GREY[2::3], GREY[0::3]])
    assert np.array_equal(read_table(path).rows, rows)
    assert np.array_equal(read_labels(path)[0].codes, np.repeat([0, 1, 2], [4, 4, 8]))


@pytest.mark.parametrize("suffix", [".png", ".parquet"])
@pytest.mark.parametrize(("make", "said"), [
    (lambda path: path.symlink_to("nothing"), "no such file or folder"),
    (lambda path: path.symlink_to(path.name), "cannot be opened (Too many levels of symbolic links)"),
    (os.mkfifo, "neither a file nor a folder"),
    (lambda path: path.symlink_to(".."), "a link to a folder that it lies in"),
], ids=["to nothing", "to itself", "pipe", "to the folder above"])  # fmt: skip
def test_what_is_no_file_is_refused_by_its_name(tmp_path, make, said, suffix):
    folder = tmp_path / "p" / "a"
    folder.mkdir(parents=True)
    make(folder / f"x{suffix}")
    message = refused(tmp_path / "p")
    assert message.startswith(f"{folder}/x{suffix}")
    assert said in message
    with pytest.raises(DataError, match=re.escape(message)):
        list(files_below(str(tmp_path / "p"), (suffix,)))


def test_a_picture_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = write_pictures(tmp_path, classes=None)

    def forbidden(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", forbidden)
    refused(path, "00.png: cannot be opened (Permission denied)")


def test_folders_that_link_to_each_other_are_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "x").symlink_to(tmp_path / "a")
    refused(tmp_path / "a", "a link to a folder that it lies in")


def test_large_images_lie_in_a_file_that_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "SPILLED_BYTES", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spill"))
    (tmp_path / "spill").mkdir()
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        rows = read_table(KINDS[kind](tmp_path / kind)).rows
        assert (blocks._mapping(rows) is not None) == (kind != "idx")  # which lies in its file as it is needed
        assert np.array_equal(rows, GREY[BY_CLASS] if kind == "pictures" else GREY)
    rows = read_table(KINDS["idx"](tmp_path / "idx"), labels=[1]).rows
    assert blocks._mapping(rows) is not None
    assert np.array_equal(rows, GREY[CLASSES == 1])
    assert list((tmp_path / "spill").iterdir()) == []
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10})())
    refused(tmp_path / "tensors" / "tensors.parquet", "spill: 0 MiB are needed here", "TMPDIR")


@pytest.mark.parametrize(("code", "dtype"), [(9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_idx_of_other_numbers(tmp_path, code, dtype):
    content = bytearray(idx(GREY))
    content[2] = code
    content[16:] = GREY.astype(dtype).tobytes()
    (tmp_path / "x.idx").write_bytes(content)
    rows = read_table(str(tmp_path / "x.idx")).rows
    assert rows.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(rows, GREY.astype(dtype))


def test_a_large_idx_file_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_files, "MAPPED_BYTES", 1)
    rows = read_table(write_idx(tmp_path)).rows
    assert blocks._mapping(rows) is not None
    assert np.array_equal(rows, GREY)


# labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_labels_choose_rows_in_every_kind(tmp_path, kind):
    path = KINDS[kind](tmp_path)
    names, codes = (["0", "1", "2"], CLASSES) if kind.startswith("idx") else (NAMES, CLASSES)
    found, _ = read_labels(path)
    order = BY_CLASS if kind == "pictures" else np.arange(12)
    assert [found.names[code] for code in found.codes] == [names[code] for code in codes[order]]
    for wanted in ([names[1]], [names[1].upper(), names[2]]):
        kept = np.isin(codes[order], [names.index(n) for n in names if n.casefold() in {w.casefold() for w in wanted}])
        table = read_table(path, labels=wanted)
        assert np.array_equal(table.rows, GREY[order][kept])
        assert len(table.columns) == 30
    refused(path, f"no label 'shoe'; there are '{min(found.names.values(), key=str)}'"[:20], labels=["shoe"])


def test_a_name_comes_before_a_code(tmp_path):
    path = write_pictures(tmp_path, classes=["2", "0", "1"])
    assert np.array_equal(read_table(path, labels=[2]).rows, GREY[CLASSES == 0])
    path = write_parquet(tmp_path / "t.parquet", encoded())
    assert np.array_equal(read_table(path, labels=[1, "bag"]).rows, GREY[CLASSES > 0])


def test_names_that_differ_in_case_alone_are_told_apart(tmp_path):
    path = write_pictures(tmp_path, classes=["Cat", "cat", "dog"])
    assert np.array_equal(read_table(path, labels=["Cat"]).rows, GREY[CLASSES == 0])
    assert np.array_equal(read_table(path, labels=["cat", "DOG"]).rows, np.concatenate([GREY[1::3], GREY[2::3]]))
    refused(path, "the label 'CAT' may be each of 'Cat', 'cat'; write it as there", labels=["CAT"])


@pytest.mark.parametrize("wanted", ["a", "A"])
def test_classes_that_are_called_the_same_are_chosen_together(tmp_path, wanted):
    path = write_parquet(tmp_path / "t.parquet", encoded(names=["a", "a", "b"]))
    assert np.array_equal(read_table(path, labels=[wanted]).rows, GREY[CLASSES < 2])
    assert np.array_equal(read_table(path, labels=[1]).rows, GREY[CLASSES == 1])


def test_a_number_that_the_file_does_not_hold_chooses_nothing(tmp_path):
    path = write_pictures(tmp_path / "p", classes=["2", "5", "7"])
    assert np.array_equal(read_table(path, labels=[5]).rows, GREY[CLASSES == 1])
    refused(path, "no label '1'", "there are '2', '5', '7'", labels=[1])
    refused(write_parquet(tmp_path / "t.parquet", tensors()), "no label '1'", labels=[1])


def test_labels_choose_rows_of_a_table_without_being_a_column_of_it(tmp_path):
    table = pa.table({"a": np.arange(12.0), "label": CLASSES, "b": np.arange(12.0) ** 2})
    path = write_parquet(tmp_path / "t.parquet", table)
    assert read_table(path).columns == ("a", "label", "b")  # as ever
    chosen = read_table(path, labels=[1])
    assert chosen.columns == ("a", "b")
    assert np.array_equal(chosen.rows[:, 0], np.flatnonzero(CLASSES == 1))
    assert read_table(path, labels=[1], columns=["b"]).columns == ("b",)


def test_a_row_is_named_by_its_place_in_the_file(tmp_path):
    table = pa.table({"a": np.where(np.arange(12) == 4, np.inf, np.arange(12.0)), "label": CLASSES})
    refused(write_parquet(tmp_path / "t.parquet", table), "column 'a', row 5: not a finite", labels=[1])


def test_labels_that_are_not_there_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", GREY)
    refused(tmp_path / "x.npy", "x.npy: holds no labels", labels=[1])
    refused(write_idx(tmp_path / "a", labels=None), "holds no labels", labels=[1])
    refused(write_pictures(tmp_path / "p", classes=None), "holds no labels", labels=[1])
    refused(write_idx(tmp_path / "b", labels=CLASSES[:-1]), "has 12 rows, but 11 labels", labels=[1])
    refused(write_idx(tmp_path / "c", labels=GREY[:, :1, 0]), "labels-idx1-ubyte: holds no labels", labels=[1])
    missing = pa.table({"a": np.arange(3.0), "label": [0, None, 1]})
    refused(write_parquet(tmp_path / "m.parquet", missing), "column 'label', row 2: missing", labels=[0])
    real = pa.table({"a": np.arange(3.0), "label": [0.5, 1.0, 2.0]})
    refused(write_parquet(tmp_path / "r.parquet", real), "column 'label' is double", labels=[0])


def test_one_class_is_a_configuration_with_a_name_of_its_own(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", encoded())
    told = {"source": "table", "path": path, "holdout_fraction": 0.25}
    sample = load_sample(TableData(**told, labels=["trouser"]))
    assert (sample.rows, sample.shape) == (4, (6, 5))
    whole = load_sample(TableData(**told))
    assert sample.digest != whole.digest
    runs = [RunConfig.model_validate({"data": {**told, "labels": labels}}) for labels in (["trouser"], [1], None)]
    assert len({run.fingerprint(sample.digest) for run in runs}) == 3


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", ".gz"])
def test_every_prefix_of_an_idx_file_is_refused(tmp_path, end):
    content = idx(GREY[:3])
    content = gzip.compress(content) if end else content
    path = tmp_path / f"x-ubyte{end}"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        assert refused(path).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "progressive"])
@pytest.mark.parametrize("pixels", [GREY[0], COLOUR[0]], ids=["grey", "colour"])
def test_every_prefix_of_a_picture_is_refused(tmp_path, kind, pixels):
    options = {"progressive": True} if kind == "progressive" else {}
    content = picture(pixels, "PNG" if kind == "PNG" else "JPEG", **options)
    path = tmp_path / "p" / "x.png"
    path.parent.mkdir()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert refused(path.parent).startswith(f"{path}: not a readable ")


def test_every_prefix_of_a_parquet_file_is_refused(tmp_path):
    sink = io.BytesIO()
    pq.write_table(encoded(GREY[:2]), sink)
    content, path = sink.getvalue(), tmp_path / "x.parquet"
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        refused(path, "x.parquet: not a readable Parquet file")


def test_changed_bytes_of_pictures_give_pixels_or_one_line(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "p"
    folder.mkdir()
    good = [picture(GREY[0]), picture(COLOUR[0]), picture(GREY[0], "JPEG"), picture(COLOUR[0], "JPEG")]
    messages = []
    for trial in range(300):
        content = bytearray(good[trial % 4])
        for at in rng.integers(0, len(content), rng.integers(1, 20)):
            content[at] = rng.integers(256)
        (folder / "x.png").write_bytes(content)
        (folder / "y.png").write_bytes(good[trial % 4])
        try:
            read_table(str(folder))
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert not any("\n" in message for message in messages)


def with_mode(mode, **options):
    sink = io.BytesIO()
    image = Image.fromarray(COLOUR[0].transpose(1, 2, 0)).convert("L" if mode == "I;16" else mode)
    image.save(sink, "JPEG" if mode == "CMYK" else "PNG", **options)
    return sink.getvalue()


def sixteen(colour):
    """A PNG of 16 bits a channel, written by hand, since Pillow writes none in colour."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2 if colour else 0, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(range(12 if colour else 4)) for _ in range(2))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


UNFIT = {
    "alpha": (with_mode("RGBA"), "an alpha channel"),
    "grey with alpha": (with_mode("LA"), "an alpha channel"),
    "palette": (with_mode("P"), "a palette"),
    "cmyk": (with_mode("CMYK"), "CMYK colours"),
    "one bit": (with_mode("1"), "1 bit a pixel"),
    "16 bits": (sixteen(False), "16 bits a channel"),
    "16 bits in colour": (sixteen(True), "16 bits a channel"),
    "a transparent grey": (with_mode("L", transparency=3), "transparent pixels"),
    "gif": (picture(GREY[0], "GIF"), "neither PNG nor JPEG"),
    "nothing": (b"", "neither PNG nor JPEG"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_pictures_that_are_not_8_bits_of_grey_or_rgb_are_refused(tmp_path, case):
    content, what = UNFIT[case]
    (tmp_path / "x.png").write_bytes(content)
    assert refused(tmp_path, what).startswith(f"{tmp_path / 'x.png'}: ")
    table = pa.table({"image": [picture(GREY[0]), content]})
    refused(write_parquet(tmp_path / "t.parquet", table), "t.parquet: column 'image', row 2: ", what)


@pytest.mark.parametrize(("other", "what"), [
    (GREY[1, :5], "5 x 5 pixels, grey"), (COLOUR[1], "6 x 5 pixels, RGB"),
])  # fmt: skip
def test_pictures_of_different_sizes_or_modes_name_both(tmp_path, other, what):
    for name, pixels in (("a.png", GREY[0]), ("b.png", other)):
        (tmp_path / name).write_bytes(picture(pixels))
    refused(tmp_path, f"{tmp_path / 'b.png'}: is {what}, but {tmp_path / 'a.png'} is 6 x 5 pixels, grey")


def test_an_idx_that_promises_more_or_less_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "x.idx"
    content = idx(GREY)
    path.write_bytes(content + b"\0")
    refused(path, "its header declares 360 bytes of data (shape (12, 6, 5)), and more are there")
    path.write_bytes(content[:4] + b"\xff" * 12 + content[16:])
    refused(path, "declares", "360 are there")
    packed = tmp_path / "x.idx.gz"
    for wrong in (content + bytes(10_000_000), content[:-1]):
        packed.write_bytes(gzip.compress(wrong))
        refused(packed, "x.idx.gz: not a readable IDX file")
    packed.write_bytes(gzip.compress(content)[:-9])
    refused(packed, "x.idx.gz: not a readable IDX file")
    packed.write_bytes(gzip.compress(content[:4] + b"\xff" * 12 + content[16:]))
    refused(
        packed, "x.idx.gz: its array of shape (4294967295, 4294967295, 4294967295) would become more than 200 times"
    )


def test_a_missing_picture_in_a_table_is_refused(tmp_path):
    table = pa.table({"image": [{"bytes": picture(GREY[0]), "path": "a"}, {"bytes": None, "path": "b.png"}]})
    refused(write_parquet(tmp_path / "t.parquet", table), "column 'image', row 2: missing value (no bytes")


@pytest.mark.parametrize("kind", ["pictures", "idx", "table"])
def test_channels_last_is_of_arrays_alone(tmp_path, kind):
    if kind == "pictures":
        refused(write_pictures(tmp_path, COLOUR, None), "pictures in files say it themselves", channels="last")
    elif kind == "idx":
        refused(write_idx(tmp_path), "data.channels: last is of arrays", "(6, 5)", channels="last")
    else:
        np.save(tmp_path / "x.npy", GREY[:, :, 0])
        refused(tmp_path / "x.npy", "data.channels: last is of arrays", channels="last")


def test_columns_of_pictures_are_refused(tmp_path):
    refused(write_pictures(tmp_path), "data.columns chooses columns of a table", columns=["x1"])


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    path = write_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(path, r"pip install 'lwgan-dist[images]'", error=ConfigError)


# the scale of pixels --------------------------------------------------------------------------------------------------


def test_pixels_are_scaled_as_in_the_paper_and_back(tmp_path):
    sample = load_sample(TableData(path=write_idx(tmp_path), standardize="pixels", holdout_fraction=0))
    rows = np.asarray(sample.train)
    np.testing.assert_allclose(rows, 0.001 + 0.998 * GREY / 255, rtol=1e-12)
    np.testing.assert_allclose(sample.standardizer.undo(rows), GREY, atol=1e-10)


def test_pixels_are_whole_numbers_of_8_bits(tmp_path):
    np.save(tmp_path / "x.npy", GREY / 255)
    with pytest.raises(DataError, match=r"'pixels' is of whole numbers 0 to 255 \(uint8\), these are float64"):
        load_sample(TableData(path=str(tmp_path / "x.npy"), standardize="pixels"))
    with pytest.raises(DataError, match="these are float64"):
        load_sample(ManifoldData(name="decoded_images", n=10, rows="stream", standardize="pixels"))
    in_memory = load_sample(ArrayData(standardize="pixels", holdout_fraction=0), GREY.astype(float))
    np.testing.assert_allclose(np.asarray(in_memory.train), 0.001 + 0.998 * GREY / 255, rtol=1e-12)

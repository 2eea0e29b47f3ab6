"""The files of a study or search that are drawn from its ledger, so that the next command may replace them."""

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from lwgan_dist.reporting.look import png
from lwgan_dist.reporting.page import Page
from lwgan_dist.storage import Folder

FIGURES, SUMMARY, PAGE, TENSORBOARD = "figures", "summary.md", "report.html", "tb"


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file, with page checksums."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def write_tables(folder: Folder, tables: Mapping[str, pa.Table | None], always: tuple[str, ...]) -> None:
    """Write every table with rows, and those of ``always``, as ``<name>.parquet``; remove the others, which are of an
    earlier configuration.
    """
    for name, table in tables.items():
        if table is not None and (table.num_rows or name in always):
            folder.write(f"{name}.parquet", parquet(table))
        else:
            folder.remove_file(f"{name}.parquet")


def write_figures(folder: Folder, figures: Mapping[str, Figure]) -> None:
    """Replace the figures, ``figures/<name>.png``."""
    folder.remove(FIGURES)
    for name, figure in figures.items():
        folder.sub(FIGURES).write(f"{name}.png", png(figure))


def write_page(folder: Folder, page: Page, figures: Mapping[str, Figure]) -> None:
    """Write the page as ``summary.md`` and ``report.html``."""
    folder.write(SUMMARY, page.markdown({name: f"{FIGURES}/{name}.png" for name in figures}).encode())
    folder.write(PAGE, page.html(figures).encode())


def write_tensorboard(folder: Folder, write: Callable[[Path], None]) -> None:
    """Replace ``tb`` by what ``write`` writes into an empty local folder."""
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary))
        folder.remove(TENSORBOARD)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                target = folder.sub(TENSORBOARD)
                for part in path.relative_to(temporary).parts[:-1]:
                    target = target.sub(part)
                target.write(path.name, path.read_bytes())


def readers_files(folder: Folder, names: Mapping[str, str]) -> dict[str, str]:
    """The location of what a reader may want to open, by what it is: the views, and of ``names`` (path in the folder by
    what is in it) those that exist.
    """
    existing = {*folder.names(), *(f"{FIGURES}/{name}" for name in folder.sub(FIGURES).names())}
    kept = {what: name for what, name in names.items() if name in existing}
    shown = {"page": PAGE, "summary": SUMMARY, **kept, "TensorBoard": TENSORBOARD}
    return {what: f"{folder.location}/{name}" for what, name in shown.items()}


def relative(folder: Folder, files: Mapping[str, str]) -> dict[str, str]:
    """The same files as seen from the folder."""
    return {what: path.removeprefix(f"{folder.location}/") for what, path in files.items()}

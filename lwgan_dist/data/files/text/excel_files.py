"""Excel files: the cells of a sheet as the text of a CSV file, which is then read like one."""

import csv
import io
import zipfile
from datetime import date, datetime, time, timedelta
from typing import Any

from lwgan_dist.data.files.loading import Loaded, ReadOptions, damage_rejected, listed, quoted
from lwgan_dist.data.files.text.csv_files import read_text
from lwgan_dist.data.files.text.csv_layout import TextSource
from lwgan_dist.errors import ConfigError, DataError

_MAX_BYTES = 1 << 30
"""Bytes of a file when it is decompressed: beyond, its cells take tens of gigabytes."""


def read_excel(path: str, options: ReadOptions) -> Loaded:
    """The rows of a sheet of an Excel file (.xlsx); see `lwgan_dist.data.files.text.csv_files.read_text`.

    Args:
        path: the file.
        options: the columns to use, and the sheet; it may be left out if only one holds cells.

    Raises:
        DataError: damaged, too large, or it is not clear which sheet is meant; and as for a text file.
        ConfigError: python-calamine is not installed.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise ConfigError(
            f"{path}: Excel files are read with python-calamine: pip install 'lwgan-dist[excel]', or save it as CSV"
        ) from None
    with damage_rejected(path, "Excel"):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise DataError(
                f"{path}: {size >> 20} MiB when decompressed, {_MAX_BYTES >> 20} are the most; save it as CSV"
            )
        try:
            book = CalamineWorkbook.from_path(path)
            sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=True) for name in book.sheet_names}
        except CalamineError as error:
            raise ValueError(str(error)) from None
    cells = sheets[_chosen_sheet({name: bool(cells) for name, cells in sheets.items()}, options.array, path)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_written(cell) for cell in row] for row in cells)
    source = TextSource(path, ",", text.getvalue().encode(errors="surrogateescape"))
    return read_text(source, options._replace(separator=None, decimal=".", encoding="utf-8"), "Excel")


def _chosen_sheet(filled: dict[str, bool], wanted: str | None, source: str) -> str:
    """The name of the sheet that is asked for, or of the only one that holds cells."""
    names = [name for name, is_filled in filled.items() if is_filled]
    if not names:
        raise DataError(f"{source}: no rows, nothing but empty sheets")
    if wanted is not None and wanted not in filled:
        raise DataError(f"{source}: holds no sheet {quoted(wanted)}; there are {listed(names)}")
    if wanted is None and len(names) > 1:
        raise DataError(f"{source}: holds several sheets, name one with data.array or array=...: {listed(names)}")
    return names[0] if wanted is None else wanted


def _written(cell: Any) -> str:
    """A cell as a field."""
    if isinstance(cell, date | datetime | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return f"{cell.days} days {timedelta(seconds=cell.seconds)}"
    return " ".join(str(cell).split()) if isinstance(cell, str) else repr(cell)

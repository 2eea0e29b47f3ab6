"""Excel files: the cells of a sheet as the text of a CSV file, which is then read like one.

The library ends the process where a file of a kilobyte declares more cells than memory holds, so it reads in a process
of its own, with a limit of memory and of time.
"""

import csv
import io
import subprocess
import sys
import zipfile
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from lwgan_dist.data.files.bounds import FREE_BYTES, MOST_FACTOR, require_room
from lwgan_dist.data.files.loading import Loaded, ReadOptions, damage_rejected, listed, quoted
from lwgan_dist.data.files.text.csv_files import read_text
from lwgan_dist.data.files.text.csv_layout import TextSource
from lwgan_dist.errors import ConfigError, DataError

_MAX_BYTES = 1 << 30
"""Bytes of a file when it is decompressed: beyond, its cells take tens of gigabytes."""

_SECONDS, _BYTES_A_SECOND = 30, 1 << 22
"""Processor time that reading may take: so many seconds, and one more for so many bytes when decompressed."""


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
        import python_calamine  # noqa: F401 - for its message
    except ImportError:
        raise ConfigError(
            f"{path}: Excel files are read with python-calamine: pip install 'lwgan-dist[excel]', or save it as CSV"
        ) from None
    with damage_rejected(path, "Excel"):
        content = _in_a_process(path, options.array, _unpacked(path))
    return read_text(
        TextSource(path, ",", content), options._replace(separator=None, decimal=".", encoding="utf-8"), "Excel"
    )


def _unpacked(path: str) -> int:
    """Bytes of the file when it is decompressed."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_BYTES:
        raise DataError(f"{path}: {size >> 20} MiB when decompressed, {_MAX_BYTES >> 20} are the most; save it as CSV")
    require_room(path, size, Path(path).stat().st_size)
    return size


def _in_a_process(path: str, sheet: str | None, unpacked: int) -> bytes:
    """The text of a sheet.

    Raises:
        DataError: what the process found wrong, or that it took too much memory or time.
    """
    limits = [str(MOST_FACTOR * Path(path).stat().st_size + FREE_BYTES), str(_SECONDS + unpacked // _BYTES_A_SECOND)]
    begin = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import print_text; print_text(*sys.argv[1:])"
    command = [sys.executable, "-c", begin, path, *limits, *([] if sheet is None else [sheet])]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == DataError.exit_code:
        raise DataError(said)
    if done.returncode:
        kind, _, reason = said.rpartition("\n")[2].partition(": ")
        if done.returncode > 0 and kind.endswith("Error") and kind != "MemoryError":
            raise ValueError(reason)
        raise DataError(f"{path}: its cells would take more memory or time than a file of its size may; save it as CSV")
    return done.stdout


def _limit(size: int, seconds: int) -> None:
    """Limit the memory that this process takes beyond what it has, and its processor time, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _text(path: str, wanted: str | None) -> str:
    """The cells of a sheet as the text of a CSV file."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(path)
    sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=True) for name in book.sheet_names}
    cells = sheets[_chosen_sheet({name: bool(cells) for name, cells in sheets.items()}, wanted, path)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_written(cell) for cell in row] for row in cells)
    return text.getvalue()


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


def print_text(path: str, size: str, seconds: str, wanted: str | None = None) -> None:
    """What the process does that reads a file: the cells of a sheet on standard output, as the text of a CSV file.

    Args:
        path: the file.
        size: bytes that it may take beyond those with which it begins.
        seconds: of the processor that it may take.
        wanted: the sheet; the only one with cells if None.
    """
    _limit(int(size), int(seconds))
    try:
        text = _text(path, wanted)
    except DataError as error:
        sys.stderr.write(str(error))
        sys.exit(DataError.exit_code)
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))

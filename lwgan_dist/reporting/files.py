"""Files of tables and of folders that are derived from them."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lwgan_dist.storage import Folder


def to_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file, with page checksums."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def replace_folder(folder: Folder, name: str, content: Path) -> None:
    """Replace a folder of derived files."""
    folder.remove(name)
    for path in sorted(content.rglob("*")):
        if path.is_file():
            place = path.relative_to(content)
            target = folder.sub(name)
            for part in place.parts[:-1]:
                target = target.sub(part)
            target.write(place.name, path.read_bytes())

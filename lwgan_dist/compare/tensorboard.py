"""A comparison in TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.reporting.tensorboard import RunNames, write_figures
from lwgan_dist.reporting.values import Row, finite


def write_comparison(folder: Path, compared: pa.Table, figures: Mapping[str, Figure]) -> None:
    """The figures, and one run of TensorBoard for each (data, model), with the mean of every metric by n (step).

    Args:
        folder: receives the event files.
        compared: ``compare.parquet``.
        figures: by tag.
    """
    with SummaryWriter(str(folder)) as writer:
        write_figures(writer, figures)
    names, lines = RunNames(), dict[tuple[str, str], list[Row]]()
    for row in compared.to_pylist():
        lines.setdefault((row["data"], row["model"]), []).append(row)
    for labels, rows in lines.items():
        with SummaryWriter(str(folder / names.of(*labels))) as writer:
            for row in rows:
                if finite(row["mean"]):
                    writer.add_scalar(f"by_n/{row['metric']}", row["mean"], row["n"])

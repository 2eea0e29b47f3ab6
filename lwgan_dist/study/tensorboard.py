"""A study in TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.reporting.tensorboard import RunNames, write_figures
from lwgan_dist.reporting.values import Row, finite

_BY_SIZE = {"p_correct": "share_correct", "mean_value": "mean_value", "score_se": "score_se", "penalty": "penalty"}


def write_study(folder: Path, cells: pa.Table, figures: Mapping[str, Figure]) -> None:
    """A consistency study: its figures, and one run of TensorBoard for each (data, method), ``<data>/<method>``.

    Its scalars are by n (step): share correct (known truth), mean value, median standard error of the score, median
    penalty.

    Args:
        folder: receives the event files; a folder that has some already would show both.
        cells: the table of the study.
        figures: by tag.
    """
    with SummaryWriter(str(folder)) as writer:
        write_figures(writer, figures)
    names, lines = RunNames(), dict[tuple[str, str], list[Row]]()
    for row in sorted(cells.to_pylist(), key=lambda row: row["n"]):
        lines.setdefault((row["data"], row["method"]), []).append(row)
    for labels, rows in lines.items():
        with SummaryWriter(str(folder / names.of(*labels))) as writer:
            for row in rows:
                for column, name in _BY_SIZE.items():
                    if finite(row[column]):
                        writer.add_scalar(f"by_n/{name}", row[column], row["n"])

"""TensorBoard files, written from what is recorded of a run, a study or a search."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.config import RunConfig
from lwgan_dist.reporting.live import write_losses
from lwgan_dist.results import RunResult


def write_run(
    folder: Path, config: RunConfig, result: RunResult, losses: Sequence[dict[str, float]], figures: dict[str, Figure]
) -> None:
    """Everything that TensorBoard shows of a finished run: losses, rank scores, figures, hyperparameters.

    In the rank scores the step is the rank.

    Args:
        folder: receives the event files.
        config: resolved; becomes the hyperparameters.
        result: becomes the per-rank scalars and the metrics of the hyperparameters.
        losses: as recorded by the trainer.
        figures: by tag.
    """
    with SummaryWriter(str(folder)) as writer:
        write_figures(writer, figures, result.iterations)
        for record in losses:
            write_losses(writer, {k: v for k, v in record.items() if k != "iteration"}, int(record["iteration"]))
        for row in result.rank_scores:
            for name, value in {"score": row.score, "se": row.se, **row.components}.items():
                writer.add_scalar(f"rank/{name}", value, row.rank)
        chosen = result.rank_scores[(result.dimension or len(result.rank_scores)) - 1]
        metrics: dict[str, Any] = {
            **({} if result.dimension is None else {"result/dimension": result.dimension}),
            "result/score": chosen.score,
            "result/penalty": result.penalty,
            "result/cpu_seconds": result.cpu_seconds,
            **{f"result/{name}": value for name, value in result.metrics.items()},
        }
        writer.add_hparams(_flat(config.model_dump(mode="json")), metrics, run_name=".")


def write_figures(writer: SummaryWriter, figures: Mapping[str, Figure], step: int = 0) -> None:
    """The figures, by tag."""
    for tag, figure in figures.items():
        writer.add_figure(tag, figure, step, close=False)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names to the scalars that TensorBoard accepts as hyperparameters."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = value if isinstance(value, str | int | float | bool) else str(value)
    return flat


class RunNames:
    """Folders for pairs of labels: without what a file system or TensorBoard minds, and never one for two pairs."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}

    def of(self, first: str, second: str) -> str:
        """The relative folder of the pair."""
        if (first, second) not in self._given:
            name = plain = f"{_safe(first)}/{_safe(second)}"
            taken, number = {given.lower() for given in self._given.values()}, 2
            while name.lower() in taken:
                name, number = f"{plain}-{number}", number + 1
            self._given[first, second] = name
        return self._given[first, second]


def _safe(label: str) -> str:
    return re.sub(r"[^\w .,=+()\[\]-]", "_", label).strip(" .")[:80] or "_"

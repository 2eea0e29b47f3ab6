"""TensorBoard files of a run, written from its recorded history."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.config import RunConfig
from lwgan_dist.results import RunResult


class LiveLosses:
    """Writes the losses of a run under way into ``tb/`` of a local run folder; nothing on another file system.

    Args:
        run_folder: local path of the run folder, or None.
    """

    def __init__(self, run_folder: Path | None) -> None:
        self._writer = SummaryWriter(str(run_folder / "tb")) if run_folder else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._writer:
            self._writer.close()

    def __call__(self, told: dict[str, Any]) -> None:
        """Write the losses of a progress record."""
        if self._writer:
            _write_losses(self._writer, told["losses"], told["iteration"])


def _write_losses(writer: SummaryWriter, losses: dict[str, float], iteration: int) -> None:
    for name, value in losses.items():
        writer.add_scalar(f"loss/{name}", value, iteration)


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
        for record in losses:
            _write_losses(writer, {k: v for k, v in record.items() if k != "iteration"}, int(record["iteration"]))
        for row in result.rank_scores:
            for name in ("score", "se", "critic", "reconstruction", "gradient_penalty", "mmd"):
                writer.add_scalar(f"rank/{name}", getattr(row, name), row.rank)
        for tag, figure in figures.items():
            writer.add_figure(tag, figure, result.iterations, close=False)
        chosen = result.rank_scores[result.dimension - 1]
        metrics: dict[str, Any] = {
            "result/dimension": result.dimension,
            "result/score": chosen.score,
            "result/penalty": result.penalty,
            "result/cpu_seconds": result.cpu_seconds,
        }
        writer.add_hparams(_flat(config.model_dump(mode="json")), metrics, run_name=".")


def _flat(told: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names to the scalars that TensorBoard accepts as hyperparameters."""
    flat: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = value if isinstance(value, str | int | float | bool) else str(value)
    return flat

"""TensorBoard files of a run, a study or a search, written from what is recorded of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.config import RunConfig
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting.live import write_losses
from lwgan_dist.reporting.page import Row, finite
from lwgan_dist.reporting.search_figures import PARAMETER
from lwgan_dist.reporting.search_page import default_trial, ranked
from lwgan_dist.results import RunResult

_MOST_CELLS = _MOST_TRIALS = 250
_MEASURES = (*METRICS, "miss", "dimension_error", "cpu_seconds")


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
            write_losses(writer, {k: v for k, v in record.items() if k != "iteration"}, int(record["iteration"]))
        for row in result.rank_scores:
            for name in ("score", "se", "critic", "reconstruction", "gradient_penalty", "mmd"):
                writer.add_scalar(f"rank/{name}", getattr(row, name), row.rank)
        for tag, figure in figures.items():
            writer.add_figure(tag, figure, result.iterations, close=False)
        chosen = result.rank_scores[(result.dimension or len(result.rank_scores)) - 1]
        metrics: dict[str, Any] = {
            **({} if result.dimension is None else {"result/dimension": result.dimension}),
            "result/score": chosen.score,
            "result/penalty": result.penalty,
            "result/cpu_seconds": result.cpu_seconds,
            **{f"result/{name}": value for name, value in result.metrics.items()},
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


def write_study(folder: Path, runs: pa.Table, cells: pa.Table, figures: dict[str, Figure]) -> None:
    """A consistency study: its figures, and one run of TensorBoard for each cell, ``<data>/<method>/n=<n>``.

    The scalars of a cell are by replicate (step): share of correct runs so far (known truth), mean of the value so far,
    mean standard error of the score on the sample. TensorBoard gets slow with many runs: of more than 250 cells there
    is one run for each (data, method), and its scalars are by n: share correct, mean value, standard error, penalty.

    Args:
        folder: receives the event files; a folder that has some already would show both.
        runs, cells: the tables of the study.
        figures: by tag.
    """
    with SummaryWriter(str(folder)) as writer:
        for tag, figure in figures.items():
            writer.add_figure(tag, figure, 0, close=False)
    names = _Names()
    if cells.num_rows > _MOST_CELLS:
        _write_by_size(folder, cells, names)
        return
    rows = runs.select(
        ["data", "n", "method", "replicate", "initialisation", "value", "correct", "failure", "score_se"]
    )
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        groups.setdefault((row["data"], row["method"], row["n"]), []).append(row)
    for (data, method, n), group in groups.items():
        with SummaryWriter(str(folder / names.of(data, method) / f"n={n}")) as writer:
            _write_cell(writer, group)


def _write_cell(writer: SummaryWriter, rows: Sequence[dict[str, Any]]) -> None:
    correct: list[bool] = []
    values: list[float] = []
    for replicate in sorted({row["replicate"] for row in rows}):
        here = [row for row in rows if row["replicate"] == replicate]
        correct += [row["correct"] for row in here if row["correct"] is not None]
        values += [row["value"] for row in here if row["failure"] is None and finite(row["value"])]
        errors = [row["score_se"] for row in here if finite(row["score_se"])]
        for name, found in (("share_correct", correct), ("mean_value", values), ("score_se", errors)):
            if found:
                writer.add_scalar(f"cell/{name}", sum(found) / len(found), replicate)


def _write_by_size(folder: Path, cells: pa.Table, names: "_Names") -> None:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in cells.to_pylist():
        groups.setdefault((row["data"], row["method"]), []).append(row)
    tags = {"p_correct": "share_correct", "mean_value": "mean_value", "score_se": "score_se", "penalty": "penalty"}
    for (data, method), rows in groups.items():
        with SummaryWriter(str(folder / names.of(data, method))) as writer:
            for row in sorted(rows, key=lambda row: row["n"]):
                for column, name in tags.items():
                    if finite(row[column]):
                        writer.add_scalar(f"by_n/{name}", row[column], row["n"])


class _Names:
    """Folders for pairs of labels: without what a file system or TensorBoard minds, and never one for two pairs."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}

    def of(self, data: str, method: str) -> str:
        """The relative folder of the pair."""
        if (data, method) not in self._given:
            name = first = f"{_safe(data)}/{_safe(method)}"
            taken, number = {given.lower() for given in self._given.values()}, 2
            while name.lower() in taken:
                name, number = f"{first}-{number}", number + 1
            self._given[data, method] = name
        return self._given[data, method]


def _safe(label: str) -> str:
    return re.sub(r"[^\w .,=+()\[\]-]", "_", label).strip(" .")[:80] or "_"


def write_search(folder: Path, trials: pa.Table, figures: dict[str, Figure], parameters: Sequence[str]) -> None:
    """A search: its figures, and one run of TensorBoard for each finished trial, ``trial-0007``, with hyperparameters.

    All trials are in one table of the HPARAMS tab, whose columns are all parameters, also those that only some trials
    have, and all measures. TensorBoard gets slow with many runs: at most 250 trials have one, the best and the default.

    Args:
        folder: receives the event files; a folder that has some already would show both.
        trials: the table of the search.
        figures: by tag.
        parameters: paths of the searched fields.
    """
    rows = trials.to_pylist()
    shown = ranked(rows)
    default = default_trial(shown)
    kept = shown[:_MOST_TRIALS]
    if default is not None and default not in kept:
        kept[-1] = default
    measured = {row["number"]: _measured(row) for row in kept}
    with SummaryWriter(str(folder)) as writer:
        for tag, figure in figures.items():
            writer.add_figure(tag, figure, 0, close=False)
        # TensorBoard believes the first description of the table that it finds, so there is only this one: add_hparams
        # would write one for each trial, without the columns that this trial does not have, and booleans as numbers.
        names = dict.fromkeys(name for told in measured.values() for name in told)
        experiment = api_pb2.Experiment(
            hparam_infos=[_column(path, [row[PARAMETER + path] for row in kept]) for path in parameters],
            metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in names],
        )
        _write_plugin(writer, metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))
    for row in kept:
        start = plugin_data_pb2.SessionStartInfo()
        for path in parameters:
            if row[PARAMETER + path] is not None:
                _set_value(start.hparams[path], row[PARAMETER + path])
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
        with SummaryWriter(str(folder / f"trial-{row['number']:04d}")) as writer:
            _write_plugin(
                writer, metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)
            )
            for name, value in measured[row["number"]].items():
                writer.add_scalar(name, value, 0)  # in 32 bits: TensorBoard's data server reads no doubles
            _write_plugin(
                writer, metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)
            )


def _measured(row: Row) -> dict[str, float]:
    goals = row["objectives"] or []
    names = ["objective"] if len(goals) == 1 else [f"objective_{place + 1}" for place in range(len(goals))]
    told = dict(zip(names, goals, strict=True)) | {name: row.get(name) for name in ("dimension", *_MEASURES)}
    return {f"result/{name}": float(value) for name, value in told.items() if finite(value)}


def _column(path: str, values: Sequence[Any]) -> Any:
    """The description of a column of the HPARAMS tab; texts and booleans can be ticked there."""
    told = [value for value in values if value is not None]
    column = api_pb2.HParamInfo(name=path, type=api_pb2.DATA_TYPE_FLOAT64, differs=len(set(values)) > 1)
    if any(isinstance(value, str) for value in told):
        column.type = api_pb2.DATA_TYPE_STRING
    elif any(isinstance(value, bool) for value in told):
        column.type = api_pb2.DATA_TYPE_BOOL
    if column.type != api_pb2.DATA_TYPE_FLOAT64:
        for value in sorted(set(told)):
            _set_value(column.domain_discrete.values.add(), value)
    return column


def _set_value(place: Any, value: Any) -> None:
    """Put a value into a protobuf ``Value``."""
    if isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, str):
        place.string_value = value
    else:
        place.number_value = value


def _write_plugin(writer: SummaryWriter, tag: str, content: Any) -> None:
    kind = metadata.create_summary_metadata(content)
    summary = Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=metadata.NULL_TENSOR)])
    writer.file_writer.add_summary(summary)

"""A search in TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter

from lwgan_dist.reporting.tensorboard import write_figures
from lwgan_dist.reporting.values import Row, finite
from lwgan_dist.search.analysis import default_trial, ranked
from lwgan_dist.search.tables import MEASURES, PARAMETER

_MOST_TRIALS = 250


def write_search(folder: Path, trials: pa.Table, figures: Mapping[str, Figure], parameters: Sequence[str]) -> None:
    """A search: its figures, and one run of TensorBoard for each finished trial, ``trial-0007``, with hyperparameters.

    All trials are in one table of the HPARAMS tab, whose columns are all parameters, also those that only some trials
    have, and all measures. TensorBoard gets slow with many runs: at most 250 trials have one, the best and the default.

    Args:
        folder: receives the event files; a folder that has some already would show both.
        trials: the table of the search.
        figures: by tag.
        parameters: paths of the searched fields.
    """
    order = ranked(trials.to_pylist())
    default, kept = default_trial(order), order[:_MOST_TRIALS]
    if default is not None and default not in kept:
        kept[-1] = default
    measured = {row["number"]: _measured(row) for row in kept}
    with SummaryWriter(str(folder)) as writer:
        write_figures(writer, figures)
        # TensorBoard believes the first description of the table that it reads, so there is only this one: add_hparams
        # would write one for each trial, without the columns that this trial does not have, and booleans as numbers.
        names = dict.fromkeys(name for measures in measured.values() for name in measures)
        experiment = api_pb2.Experiment(
            hparam_infos=[_column(path, [row[PARAMETER + path] for row in kept]) for path in parameters],
            metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in names],
        )
        _write_plugin(writer, metadata.EXPERIMENT_TAG, experiment=experiment)
    for row in kept:
        start = plugin_data_pb2.SessionStartInfo()
        for path in parameters:
            if row[PARAMETER + path] is not None:
                _set_value(start.hparams[path], row[PARAMETER + path])
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
        with SummaryWriter(str(folder / f"trial-{row['number']:04d}")) as writer:
            _write_plugin(writer, metadata.SESSION_START_INFO_TAG, session_start_info=start)
            for name, value in measured[row["number"]].items():
                writer.add_scalar(name, value, 0)  # in 32 bits: TensorBoard's data server reads no doubles
            _write_plugin(writer, metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _measured(row: Row) -> dict[str, float]:
    goals = row["objectives"] or []
    names = ["objective"] if len(goals) == 1 else [f"objective_{place + 1}" for place in range(len(goals))]
    values = dict(zip(names, goals, strict=True)) | {name: row.get(name) for name in ("dimension", *MEASURES)}
    return {f"result/{name}": float(value) for name, value in values.items() if finite(value)}


def _column(path: str, values: Sequence[Any]) -> Any:
    """The description of a column of the HPARAMS tab; texts and booleans can be ticked there."""
    given = [value for value in values if value is not None]
    column = api_pb2.HParamInfo(name=path, type=api_pb2.DATA_TYPE_FLOAT64, differs=len(set(values)) > 1)
    if any(isinstance(value, str) for value in given):
        column.type = api_pb2.DATA_TYPE_STRING
    elif any(isinstance(value, bool) for value in given):
        column.type = api_pb2.DATA_TYPE_BOOL
    if column.type != api_pb2.DATA_TYPE_FLOAT64:
        for value in sorted(set(given)):
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


def _write_plugin(writer: SummaryWriter, tag: str, **content: Any) -> None:
    kind = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
    summary = Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=metadata.NULL_TENSOR)])
    writer.file_writer.add_summary(summary)

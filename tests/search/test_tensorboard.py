"""What TensorBoard itself reads from the files of a search, asked as its web page asks."""

import json
import warnings

import pytest
import search_tables
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from lwgan_dist.search.figures import history_figure
from lwgan_dist.search.tables import MEASURES
from lwgan_dist.search.tensorboard import write_search

with warnings.catch_warnings():  # of a library that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin


class _Board:
    """The HPARAMS tab over a folder."""

    def __init__(self, folder) -> None:
        self.files = EventMultiplexer()
        self.files.AddRunsFromDirectory(str(folder))
        self.files.Reload()
        provider = MultiplexerDataProvider(self.files, str(folder))
        self._routes = HParamsPlugin(TBContext(data_provider=provider, logdir=str(folder))).get_plugin_apps()

    def _ask(self, route: str, **asked):
        answer = Client(self._routes[route]).post(route, data=json.dumps(asked), content_type="application/json")
        assert answer.status_code == 200
        return json.loads(answer.data)

    def columns(self):
        found = self._ask("/experiment", experimentName="")
        return {info["name"]: info for info in found["hparamInfos"]}, [m["name"]["tag"] for m in found["metricInfos"]]

    def rows(self):
        """Parameters and metrics by run."""
        parameters, metrics = self.columns()
        shown = [{"hparam": name, "includeInResult": True} for name in parameters]
        shown += [{"metric": {"tag": name, "group": ""}, "includeInResult": True} for name in metrics]
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        found = self._ask("/session_groups", experimentName="", allowedStatuses=statuses, colParams=shown,
                          startIndex=0, sliceSize=10_000)  # fmt: skip
        assert all(len(group["sessions"]) == 1 for group in found["sessionGroups"])
        return {
            group["name"]: (
                group["hparams"], {each["name"]["tag"]: each["value"] for each in group["metricValues"]}
            )
            for group in found["sessionGroups"]
        }  # fmt: skip


def _write(folder, made: search_tables.Search, **figures) -> _Board:
    write_search(folder, made.trials, figures, [axis.path for axis in made.axes])
    return _Board(folder)


def test_every_trial_parameter_and_measure_is_in_one_table(tmp_path):
    made = search_tables.search(seeds=2)
    board = _write(tmp_path, made, history=history_figure(made.trials, made.objectives))
    columns, metrics = board.columns()
    assert {name: info["type"] for name, info in columns.items()} == {
        "objective.mmd_weight": "DATA_TYPE_FLOAT64", "networks.width": "DATA_TYPE_FLOAT64",
        "schedule.name": "DATA_TYPE_STRING", "schedule.generator_ema": "DATA_TYPE_FLOAT64",
        "data.rotate": "DATA_TYPE_BOOL",
    }  # fmt: skip
    assert columns["schedule.name"]["domainDiscrete"] == ["fast", "paper"]
    assert all(info["differs"] for info in columns.values())
    assert set(metrics) == {f"result/{name}" for name in ("objective", "dimension", *MEASURES)}
    rows = board.rows()
    done = [row for row in made.trials.to_pylist() if row["state"] == "finished"]
    assert set(rows) == {f"trial-{row['number']:04d}" for row in done}
    for row in done:
        parameters, measured = rows[f"trial-{row['number']:04d}"]
        told = {axis.path: row[f"parameters.{axis.path}"] for axis in made.axes}
        assert parameters == {path: value for path, value in told.items() if value is not None}
        assert [type(parameters[path]) for path in ("schedule.name", "data.rotate")] == [str, bool]
        assert measured == pytest.approx({name: row[name.removeprefix("result/")] for name in metrics}, rel=1e-6)
    assert board.files.SummaryMetadata(".", "history").plugin_data.plugin_name == "images"


def test_columns_do_not_depend_on_the_first_trial(tmp_path):
    made = search_tables.search()
    values = [None, *made.trials["parameters.schedule.generator_ema"].to_pylist()[1:]]
    trials = search_tables.changed(made.trials, "parameters.schedule.generator_ema", values)
    write_search(tmp_path, trials, {}, ["schedule.generator_ema", "objective.mmd_weight"])
    board = _Board(tmp_path)
    assert set(board.columns()[0]) == {"schedule.generator_ema", "objective.mmd_weight"}
    rows = board.rows()
    assert set(rows["trial-0000"][0]) == {"objective.mmd_weight"}
    assert any("schedule.generator_ema" in parameters for parameters, _ in rows.values())


def test_several_objectives_and_unknown_measures(tmp_path):
    made = search_tables.search(objectives=("energy_distance", "cpu_seconds"), truth=None)
    trials = search_tables.changed(made.trials, "miss", [None] * made.trials.num_rows)
    write_search(tmp_path, trials, {}, [axis.path for axis in made.axes])
    board = _Board(tmp_path)
    metrics = board.columns()[1]
    assert metrics[:2] == ["result/objective_1", "result/objective_2"]
    assert "result/miss" not in metrics
    first = made.trials.to_pylist()[0]
    measured = board.rows()["trial-0000"][1]
    assert [measured[name] for name in metrics[:2]] == pytest.approx(first["objectives"], rel=1e-6)


def test_measures_are_written_as_the_data_server_of_tensorboard_reads_them(tmp_path):
    """It shows nothing of scalars in 64 bits, which the slower reader of these tests would show as well."""
    _write(tmp_path, search_tables.search(trials=1))
    raw = next((tmp_path / "trial-0000").iterdir())
    events = map(event_pb2.Event.FromString, RawEventFileLoader(str(raw)).Load())
    kinds = {value.tag: value.WhichOneof("value") for event in events for value in event.summary.value}
    assert {tag: kind for tag, kind in kinds.items() if tag.startswith("result/")} == {
        f"result/{name}": "simple_value" for name in ("objective", "dimension", *MEASURES)
    }


def test_of_many_trials_the_best_and_the_default_have_a_run(tmp_path):
    made = search_tables.search(trials=300, failing=0, stopping=0, parameters=search_tables.space()[:2])
    worst = [300 if row["number"] == 0 else row["place"] - 1 for row in made.trials.to_pylist()]
    places = {number: place + 1 for place, number in enumerate(sorted(range(300), key=lambda n: worst[n]))}
    trials = search_tables.changed(made.trials, "place", [places[number] for number in range(300)])
    write_search(tmp_path, trials, {}, ["networks.width"])
    rows = _Board(tmp_path).rows()
    assert len(rows) == 250
    assert set(rows) == {f"trial-{n:04d}" for n, place in places.items() if place <= 249} | {"trial-0000"}


@pytest.mark.parametrize("shape", [{"failing": 1.0}, {"trials": 1}])
def test_searches_with_little_to_show(tmp_path, shape):
    made = search_tables.search(**shape)
    assert len(_write(tmp_path, made).rows()) == made.facts().finished

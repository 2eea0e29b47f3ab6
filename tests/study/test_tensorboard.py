"""What TensorBoard reads of a study."""

import pytest
import study_tables
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lwgan_dist.study.figures import correct_figure
from lwgan_dist.study.tensorboard import write_study


def _read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_there_is_a_run_for_each_data_and_method_with_scalars_by_n(tmp_path):
    made = study_tables.study({"a/b: <c>": 2, "a_b_ <c>": None}, methods=("LWGAN", "TwoNN"), failing=0.1)
    write_study(tmp_path, made.cells, {"correct": correct_figure(made.cells)})
    assert _read(tmp_path).Tags()["images"] == ["correct"]
    folders = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*events*")} - {"."}
    assert folders == {f"a_b_ _c_/{name}" for name in ("LWGAN", "TwoNN", "LWGAN-2", "TwoNN-2")}
    events = _read(tmp_path / "a_b_ _c_" / "LWGAN")
    cells = [c for c in made.cells.to_pylist() if (c["data"], c["method"]) == ("a/b: <c>", "LWGAN")]
    tags = {"share_correct": "p_correct", "mean_value": "mean_value", "score_se": "score_se", "penalty": "penalty"}
    assert set(events.Tags()["scalars"]) == {f"by_n/{name}" for name in tags}
    for name, column in tags.items():
        shown = {event.step: event.value for event in events.Scalars(f"by_n/{name}")}
        assert shown == pytest.approx({c["n"]: c[column] for c in cells})
    assert _read(tmp_path / "a_b_ _c_" / "TwoNN-2").Tags()["scalars"] == ["by_n/mean_value"]


@pytest.mark.parametrize("label", ["..", "", " . ", "a/../../b"])
def test_no_label_leaves_the_folder(tmp_path, label):
    inner = tmp_path / "in"
    made = study_tables.study({label: 2}, sizes=(10,), methods=("TwoNN",), replicates=1)
    write_study(inner, made.cells, {})
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    (run,) = {path.parent.relative_to(inner) for path in inner.rglob("*events*")} - {inner.relative_to(inner)}
    assert len(run.parts) == 2

"""The first 20 iterations of both schedules, pinned. A refactor leaves this file as it is; a change of numerics writes
it anew (``python tests/training/test_trajectory.py``) in a commit of its own that says why.

float64, relative 1e-8: other processors sum in another order, nothing else may differ."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from tiny import CONFIGS, make_trainer, trajectory

FILE = Path(__file__).parents[1] / "golden" / "trajectory.json"


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_trajectory_is_the_recorded_one(name):
    seen, recorded = trajectory(make_trainer(CONFIGS[name])), json.loads(FILE.read_text())[name]
    for ours, theirs in zip(seen["losses"], recorded["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-10)
    assert seen["parameters"] == pytest.approx(recorded["parameters"], rel=1e-8, abs=1e-10)


if __name__ == "__main__":
    recorded = {name: trajectory(make_trainer(told)) for name, told in CONFIGS.items()}
    FILE.write_text(json.dumps(recorded, indent=1) + "\n")

"""The first 40 iterations of both schedules, pinned. A refactor leaves this file as it is; a change of numerics writes
it anew (``python tests/training/test_trajectory.py``) in a commit of its own that says why.

float64, relative 1e-8: other processors sum in another order, nothing else may differ."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from tiny import CONFIGS, NULL_DIRECTIONS, make_trainer, trajectory

FILE = Path(__file__).parents[1] / "golden" / "trajectory.json"


@pytest.mark.parametrize("schedule", ["paper", "fast"])
def test_trajectory_is_the_recorded_one(schedule):
    seen, recorded = trajectory(make_trainer(CONFIGS[schedule])), json.loads(FILE.read_text())[schedule]
    for ours, theirs in zip(seen["losses"], recorded["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-10)
    for split, tables in recorded["components"].items():
        np.testing.assert_allclose(seen["components"][split], tables, rtol=1e-8, atol=1e-10)
    for name in seen["parameters"].keys() - set(NULL_DIRECTIONS):
        assert seen["parameters"][name] == pytest.approx(recorded["parameters"][name], rel=1e-8, abs=1e-10)


if __name__ == "__main__":
    recorded = {name: trajectory(make_trainer(told)) for name, told in CONFIGS.items()}
    FILE.write_text(json.dumps(recorded, indent=1) + "\n")

"""Small whole runs: curved manifolds with noise are unrolled and their dimension is found."""

import pytest

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures")


def estimate(folder, name, **schedule):
    config = RunConfig.model_validate(
        {
            "data": {"source": "manifold", "name": name, "n": 800, "noise": 0.02},
            "networks": {"latent_dim": 3, "width": 32},
            "precision": "float32",
            "score": {"evaluations": 4},
            "schedule": {
                "batch_size": 128,
                "embedding_iterations": 300,
                "matching_iterations": 250,
                "critic_iterations": 50,
                **schedule,
            },
        }
    )
    return Run(config).train(Folder.at(str(folder / "run")), ExecutionConfig(workers=0))


@pytest.mark.parametrize(("name", "dimension"), [("swissroll_curve", 1), ("s_curve", 2)])
def test_dimension_of_a_curved_manifold(tmp_path, name, dimension):
    result = estimate(tmp_path, name)
    assert result.dimension == dimension
    assert result.rank_scores[dimension - 1].reconstruction < 0.1


def test_without_geodesic_coordinates_the_spiral_stays_folded(tmp_path):
    """Control: what the start is for, and that the test above can fail."""
    result = estimate(tmp_path, "swissroll_curve", embedding_iterations=0)
    assert result.lowered_from > 1, "networks ask for more, neighbours do not"
    assert result.rank_scores[0].reconstruction > 0.3

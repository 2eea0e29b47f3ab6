"""What several tests of clusters need."""

import nodes
import pytest


@pytest.fixture(scope="module")
def cluster():
    """A head, to which nodes are added."""
    with nodes.cluster() as made:
        yield made


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The file of a run, of which the rest is set in the command."""
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text("data: {source: manifold, name: s_curve}\n")
    return path

"""The recipes of docs/extension.md, carried out on a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from tiny import FAST

from lwgan_dist.config import override
from lwgan_dist.data.files.tables import read_table

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "docs" / "extension.md").read_text()


@pytest.fixture
def package(tmp_path):
    shutil.copytree(ROOT / "lwgan_dist", tmp_path / "lwgan_dist", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "lwgan_dist"


def changed(package):
    """Files that differ from ours, or are new."""
    ours = ROOT / "lwgan_dist"
    paths = [path.relative_to(package) for path in package.rglob("*.py")]
    return {str(p) for p in paths if not (ours / p).exists() or (ours / p).read_text() != (package / p).read_text()}


def insert(path, before, text):
    content = path.read_text()
    assert content.count(before) == 1
    path.write_text(content.replace(before, text + before))


def command(package, *arguments):
    told = forked.run(forked.lwgan_dist, *arguments, path=package.parent)
    assert told.returncode == 0, told.stderr
    return told.stdout


def add_manifold(package, recipe):
    """Its name."""
    section = RECIPES.partition(f"## {recipe}")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    name = re.search(r"def (\w+)\(", code).group(1)
    sampler, entry = map(str.strip, code.rsplit("\n\n", 1))
    insert(package / "data" / "simulated" / "manifolds.py", "def ellipse(", f"{sampler}\n\n\n")
    with (package / "data" / "simulated" / "manifolds.py").open("a") as file:
        file.write(f"\n\n{entry}")
    insert(package / "config.py", '"cinquefoil", "waves_3"', f'"{name}", ')
    assert changed(package) == {"data/simulated/manifolds.py", "config.py"}
    return name


def test_a_manifold(package, tmp_path):
    name = add_manifold(package, "A manifold")
    (tmp_path / "run.yaml").write_text(f"data: {{source: manifold, name: {name}}}\n")
    assert command(package, "validate", tmp_path / "run.yaml").strip().endswith("ok")
    draw = f"from lwgan_dist.data.simulated.manifolds import *; s = ManifoldSampler(ManifoldData(name='{name}')); "
    shown = subprocess.run(
        [sys.executable, "-c", draw + "print(s.intrinsic_dim, s.draw(np.random.default_rng(0), 5).shape)"],
        capture_output=True, text=True, check=True, cwd=package.parent, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert shown.stdout.strip() == "1 (5, 2)"


def test_data_of_images(package, tmp_path):
    name = add_manifold(package, "Data of images")
    (tmp_path / "run.yaml").write_text(json.dumps(override(FAST, {"data.name": name})))
    command(package, "train", tmp_path / "run.yaml", "--workers", 0, "--storage", tmp_path, "--name", "mine")
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["shape"] == [9, 12]
    command(package, "generate", tmp_path / "mine", "--num", 5, "--out", tmp_path / "new.parquet")
    assert pq.read_schema(tmp_path / "new.parquet").field("x").type.shape == [9, 12]
    assert read_table(str(tmp_path / "new.parquet")).rows.shape == (5, 9, 12)


def test_a_family_of_networks(package, tmp_path):
    section = RECIPES.partition("## A family of networks")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    (package / "networks" / "narrow.py").write_text(f'"""Narrow perceptrons."""\n\n{code}')
    registry = package / "networks" / "registry.py"
    insert(registry, "from lwgan_dist.seeding", "from lwgan_dist.networks.narrow import Narrow\n")
    registry.write_text(registry.read_text().replace('"mlp": Mlp(), ', '"mlp": Mlp(), "narrow": Narrow(), '))
    config = package / "configbase.py"
    config.write_text(config.read_text().replace('["auto", "mlp", "conv"]', '["auto", "mlp", "conv", "narrow"]'))
    assert changed(package) == {"networks/narrow.py", "networks/registry.py", "configbase.py"}
    (tmp_path / "run.yaml").write_text(json.dumps(override(FAST, {"networks.name": "narrow"})))
    command(package, "train", tmp_path / "run.yaml", "--workers", 0, "--storage", tmp_path, "--name", "mine")
    tensors = load_file(tmp_path / "mine" / "model" / "model.safetensors")
    assert tensors["network/encoder/hidden.0.weight"].shape[0] == 8 * FAST["networks"]["width"] // 2
    assert tensors["network/critic/hidden.0.weight"].shape[0] == 4 * FAST["networks"]["width"]


def test_a_model(package, tmp_path):
    """The auto-encoder again, under another name: its folder, and one name in the union."""
    shutil.copytree(package / "models" / "wae", package / "models" / "toy")
    for path in (package / "models" / "toy").glob("*.py"):
        renamed = path.read_text().replace("models.wae", "models.toy").replace("WaeModel", "ToyModel")
        path.write_text(renamed.replace('Literal["wae"] = "wae"', 'Literal["toy"] = "toy"'))
    union = package / "models" / "configs.py"
    insert(union, "from lwgan_dist.models.wae.config", "from lwgan_dist.models.toy.config import ToyModel\n")
    union.write_text(union.read_text().replace("LwganModel | WaeModel", "LwganModel | ToyModel | WaeModel"))
    folder = {f"models/toy/{path.name}" for path in (package / "models" / "toy").glob("*.py")}
    assert changed(package) == {"models/configs.py"} | folder
    (tmp_path / "run.yaml").write_text(
        "data: {source: manifold, name: s_curve, n: 100}\n"
        "model: {name: toy, latent_dim: 2, width: 4, iterations: 20, evaluations: 2}\n"
    )
    shown = command(package, "train", tmp_path / "run.yaml", "--workers", 0, "--storage", tmp_path, "--name", "mine")
    assert "toy of latent size 2" in shown
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["model"] == "toy"


def test_the_recipes_name_files_that_are_there():
    for path in re.findall(r"`((?:lwgan_dist|tests)/[\w/.]+)`", RECIPES):
        assert (ROOT / path).exists(), path

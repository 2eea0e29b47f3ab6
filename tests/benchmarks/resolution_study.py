"""Does the answer flip where the stated resolution says, whatever the length of the training?

    python tests/benchmarks/resolution_study.py write runs/strips
    lwgan-dist study tune_configs/study/resolution.yaml
    python tests/benchmarks/resolution_study.py report runs/resolution docs/resolution

`write` makes the strips (tables of 4,000 rows) and the configuration. The truth that a study is told is the dimension
at the stated resolution: a direction counts if the standard deviation along it, in units of the data's scale, is above
`score.resolution`; noise that counts fills all columns. The report makes the map of the estimates.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lwgan_dist.config import ManifoldData, ScoreConfig
from lwgan_dist.data.simulated.manifolds import ManifoldSampler
from lwgan_dist.data.simulated.population import report_members
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.seeding import generator

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tune_configs" / "study" / "resolution.yaml"
LENGTHS = (1, 2, 4)
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0)
NOISES = (0.05, 0.1, 0.2)
MEMBERS = report_members("resolution", 2)
HEAD = """# lwgan-dist study tune_configs/study/resolution.yaml
#
# (after python tests/benchmarks/resolution_study.py write runs/strips, which makes its tables)
#
# Strips of an S-curve and a spiral, .1 to 2 wide, and noise of 0 to .2 on them and on two members of the population,
# trained once, twice and four times as long: does the answer flip where the stated resolution says? intrinsic_dim is
# the dimension at that resolution. Written by tests/benchmarks/resolution_study.py. Time: --dry-run estimates it.
sizes: [2000]
lwgan:
  replicates: 1
  rules:
    authors' rule: {penalty: reference}
data:
"""


def strip(name: str, width: float, noise: float) -> tuple[np.ndarray, int]:
    """4,000 rows of a strip in three columns, and its dimension at the stated resolution."""
    rng = generator(0, f"resolution/{name}/{width}/{noise}")
    curve = ManifoldSampler(ManifoldData(source="manifold", name=name)).draw(rng, 4_000)
    x = np.column_stack([curve[:, 0], rng.uniform(0.0, width, len(curve)), curve[:, -1]])
    scale = Standardizer.fit(x, "global").scale[0]
    least = ScoreConfig().resolution
    dim = 1 + (width / np.sqrt(12.0) / scale > least)
    if noise:
        x = x + rng.normal(0.0, noise, x.shape)
        dim = 3 if noise / Standardizer.fit(x, "global").scale[0] > least else dim
    return x, int(dim)


def write(folder: Path) -> None:
    """Tables and configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = [(name, width, 0.0) for name in ("s_curve", "swissroll_curve") for width in WIDTHS]
    cells += [(name, 2.0, noise) for name in ("s_curve", "swissroll_curve") for noise in NOISES]
    entries = []
    for name, width, noise in cells:
        x, dim = strip(name, width, noise)
        path = folder / f"{name}_{width:g}_{noise:g}.npy"
        np.save(path, x)
        entries.append((f"path: {path}, intrinsic_dim: {dim}", f"{name} {width:g} wide, noise {noise:g}"))
    for number in MEMBERS:
        entries += [
            (f"population: {number}, dim: 2, ambient_dim: 3, noise: {noise:g}", f"member {number}, noise {noise:g}")
            for noise in (0.0, *NOISES)
        ]
    lines = [HEAD]
    for told, label in entries:
        for length in LENGTHS:
            settings = (
                f"{{schedule.embedding_iterations: {1500 * length}, schedule.matching_iterations: {3000 * length}}}"
            )
            lines.append(f'  - {{{told}, label: "{label}, x {length}", settings: {settings}}}\n')
    CONFIG.write_text("".join(lines))


def report(study: Path, out: Path) -> None:
    """The map of the estimates by cell and length, and in how many cells all lengths say the same."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("runs.parquet", "config.yaml", "env.json"):
        shutil.copy(study / name, out / name)
    cells: dict[str, dict[str, dict[str, int | None]]] = {}
    for row in pq.read_table(study / "runs.parquet", columns=["data", "method", "dimension"]).to_pylist():
        label, length = row["data"].rsplit(", x ", 1)
        cells.setdefault(row["method"], {}).setdefault(label, {})[length] = row["dimension"]
    lines = []
    for method, found in cells.items():
        lines += [f"| {method} | " + " | ".join(f"x {length}" for length in LENGTHS) + " |", "|---|---|---|---|"]
        lines += [
            f"| {label} | " + " | ".join(str(says.get(str(length), "")) for length in LENGTHS) + " |"
            for label, says in found.items()
        ]
        whole = [says for says in found.values() if len(says) == len(LENGTHS)]
        same = sum(len(set(says.values())) == 1 for says in whole)
        lines += ["", f"The same at all lengths in {same} of {len(whole)} cells.", ""]
    (out / "tables.md").write_text("\n".join(lines))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            write(Path(folder))
        case ["report", study, out]:
            report(Path(study), Path(out))
        case _:
            sys.exit(__doc__)

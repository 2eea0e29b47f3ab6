"""The study of the population: is the estimate right on manifolds that nobody tuned for, and against which others?

    python tests/benchmarks/population_study.py write      # tune_configs/study/population.yaml
    lwgan-dist study tune_configs/study/population.yaml --storage runs --name population
    python tests/benchmarks/population_study.py report runs/population docs/population

Strata: (chart | closed) x (dimension 1-3 | 4-6 | 7-10) x (noise 0, 2, 5 % of the scale) x (d + 1, 20, 100 columns), one member
of each stratum in every block of 54. The members are those reserved for this table, and no others.
"""

import itertools
from pathlib import Path

from lwgan_dist.data.population import report_members
from lwgan_dist.seeding import generator

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tune_configs" / "study" / "population.yaml"
STRATA = list(itertools.product(["chart", "closed"], [(1, 3), (4, 6), (7, 10)], [0, 0.02, 0.05], ["d+1", 20, 100]))
BLOCKS = 4
ESTIMATORS = ["TwoNN", "MLE", "MiND", "CorrInt", "lPCA", "DANCo", "ABIDE", "Gride", "PCA+ABIDE", "PCA+TwoNN", "Isomap"]
HEAD = f"""# lwgan-dist study tune_configs/study/population.yaml
#
# Is the estimate right on manifolds that nobody tuned for? {BLOCKS * len(STRATA)} members of the population, n = 2,000, beside
# {len(ESTIMATORS)} other estimators; the account is in docs/population. Written by tests/benchmarks/population_study.py. Time: some
# 35 CPU seconds an LWGAN run, 3 CPU hours in all.
sizes: [2000]
lwgan:
  replicates: 1
  rules:
    authors' rule: {{penalty: reference}}
    without critic: {{critic: false}}
    hold-out: {{score_on: holdout}}
classical:
  replicates: 1
  estimators: [{", ".join(ESTIMATORS)}]
data:
"""


def draws() -> list[dict]:
    """Member, stratum and what of it is fixed."""
    found = []
    members = report_members("population", BLOCKS * len(STRATA))
    for number, stratum in zip(members, itertools.cycle(STRATA), strict=False):
        topology, (low, high), noise, columns = stratum
        dim = int(generator(number, "stratum/dim").integers(low, high + 1))
        ambient = dim + 1 if columns == "d+1" else columns
        found.append({
            "population": number, "topology": topology, "dim": dim, "noise": noise, "ambient_dim": ambient,
            "dims": f"{low}-{high}", "columns": str(columns), "label": f"member {number}",
        })  # fmt: skip
    return found


def write() -> None:
    lines = [
        f"  - {{population: {d['population']}, label: {d['label']}, topology: {d['topology']}, dim: {d['dim']}, "
        f"noise: {d['noise']}, ambient_dim: {d['ambient_dim']}, "
        f"settings: {{networks.latent_dim: {min(12, d['ambient_dim'])}}}}}\n"
        for d in draws()
    ]
    CONFIG.write_text(HEAD + "".join(lines))


if __name__ == "__main__":
    write()

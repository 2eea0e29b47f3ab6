"""``demo``: from a table to its page in half a minute."""

import io

import click

from lwgan_dist.cli.common import guarded, tell
from lwgan_dist.cli.runs import estimate

ROWS, COLUMNS, NOISE = 500, 5, 0.02
SETTINGS = ("schedule.embedding_iterations=1000", "schedule.matching_iterations=1000")
"""Less than half of the usual iterations: the surface is learned by then."""


@click.command(short_help="A table, its dimension and the page of it, in half a minute.")
@click.option("--out", metavar="DIR", default="lwgan-demo", show_default=True, help="Folder of the table and the run.")
@click.pass_context
@guarded
def demo(ctx: click.Context, out: str) -> None:
    """Write a table of 500 rows of 5 columns, estimate its dimension as "lwgan-dist estimate" does, and write the page
    of the run: half a minute of a core. The same command again shows the answer at once.

    The rows lie on a surface, the S-curve (sin t, u, sign(t) (cos t - 1)), turned into 5 columns, with noise of
    standard deviation 0.02; the dimension is 2.
    """
    from lwgan_dist.storage import Folder

    folder = Folder.at(out)
    folder.write("table.csv", table())
    path = f"{folder.location}/table.csv"
    tell(f"a table of a surface in {COLUMNS} columns: {path}")
    ctx.invoke(estimate, data=path, changes=SETTINGS, max_dimension=COLUMNS - 1, out=f"{folder.location}/run")
    from lwgan_dist.run.report import write_report

    click.echo(f"\nThe surface is 2-dimensional.\npage:  {write_report(folder.sub('run'))}")
    click.echo("yours: lwgan-dist estimate FILE (docs/guide/estimate.md says how to read the answer)")


def table() -> bytes:
    """The table as CSV, the same at every call."""
    import numpy as np

    from lwgan_dist.config import ManifoldData
    from lwgan_dist.data.simulated.manifolds import ManifoldSampler
    from lwgan_dist.seeding import generator

    config = ManifoldData(name="s_curve", ambient_dim=COLUMNS, rotate=True, noise=NOISE, n=ROWS)
    rows, text = ManifoldSampler(config).draw(generator(0, "demo"), ROWS), io.StringIO()
    np.savetxt(text, rows, fmt="%.3f", delimiter=",", header=",".join(f"x{i + 1}" for i in range(COLUMNS)), comments="")
    return text.getvalue().encode()

"""``estimate``, ``train``, ``generate``: single runs."""

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lwgan_dist import logs
from lwgan_dist.cli.common import (
    address_option,
    at_address,
    check_device,
    check_manifold,
    check_name,
    dry_run_option,
    guarded,
    json_option,
    metric_names,
    overrides,
    show_result,
    tell,
    verbose_option,
    workers_option,
)
from lwgan_dist.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lwgan_dist.config import ExecutionConfig, RunConfig
    from lwgan_dist.results import RunResult
    from lwgan_dist.run.run import Run
    from lwgan_dist.storage import Folder


@click.command(short_help="Estimate the intrinsic dimension of a table.")
@click.argument("data")
@overrides
@click.option(
    "--max-dimension", type=click.IntRange(1), help="The largest rank considered.  [default: columns, at most 10]"
)
@click.option("--schedule", type=click.Choice(["fast", "paper"]), default="fast", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run.")
@click.option(
    "--replicates",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Fits, the further ones with other seeds and splits, each as long as the first.",
)
@click.option("--no-competitors", is_flag=True, help="No classical estimators beside the answer (seconds).")
@click.option("--out", metavar="DIR", help="The run folder.  [default: runs/<data>-<fingerprint>]")
@workers_option
@dry_run_option
@json_option
@verbose_option
@guarded
def estimate(
    data: str, changes: tuple[str, ...], max_dimension: int | None, schedule: str, seed: int, replicates: int,
    no_competitors: bool, out: str | None, workers: int | None, dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Estimate the intrinsic dimension of DATA, with the evidence for it and a generator.

    DATA is a table (.csv, .tsv, .txt, .parquet, .feather, .npy, .npz, .xlsx, a folder of Parquet files) or the name of
    a manifold of known dimension (s_curve, hyperplane, sphere, ...). Any field of the configuration can be set by
    key=value, for example data.columns=[a,b] schedule.matching_iterations=3000 precision=bfloat16.

    Beside the answer stands what ABIDE, TwoNN, MLE and DANCo say of the same rows, and whether they agree: in the rank
    set, and at most one off. All but ABIDE need pip install 'lwgan-dist[classical]'. --replicates 3 says in how many of
    three fits the answer is the same. The same command again goes on where it was interrupted.
    """
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import build_config, located, parse_overrides

    is_manifold = _is_manifold(data)
    values: dict[str, Any] = {
        "data": {"source": "manifold", "name": data} if is_manifold else {"source": "table", "path": data},
        "schedule": {"name": schedule},
        "seed": seed,
        "execution": {"workers": 0 if workers is None else workers},
    }
    if max_dimension is not None:
        values["networks"] = {"latent_dim": max_dimension}
    config = build_config(TrainConfig, values, parse_overrides(changes))
    name = data if is_manifold else Path(data).absolute().name.split(".")[0] or "table"
    with located(None, changes):
        _execute(
            config.run(), config.execution, name, out, dry_run, as_json, verbose,
            fits=replicates, competitors=not no_competitors,
        )  # fmt: skip


def _is_manifold(data: str) -> bool:
    """Whether DATA names a manifold and no file.

    Raises:
        DataError: neither, but it looks like the name of one.
    """
    from typing import get_args

    from lwgan_dist.config import ManifoldName

    names = get_args(ManifoldName)
    if os.path.exists(data):
        return False
    if data not in names and re.fullmatch(r"[\w-]+", data):
        close = difflib.get_close_matches(data.lower().replace("-", "_"), names, n=1)
        hint = f"did you mean the manifold {close[0]}?" if close else f"manifolds are {', '.join(names)}"
        raise DataError(f"{data}: no such file or folder; {hint}")
    return data in names


@click.command(short_help="Train the run that a file describes.")
@click.argument("config_file", metavar="CONFIG.yaml")
@overrides
@click.option("--name", help="Name of the run; its folder is STORAGE/NAME.  [default: <config>-<fingerprint>]")
@click.option("--storage", metavar="DIR", default="runs", show_default=True, help="Folder or URI that holds runs.")
@click.option("--metrics", metavar="NAME,...", help="Metrics of the result beside those of every run: w2,coverage.")
@workers_option
@address_option
@dry_run_option
@json_option
@verbose_option
@guarded
def train(
    config_file: str, changes: tuple[str, ...], name: str | None, storage: str, metrics: str | None,
    workers: int | None, address: str | None, dry_run: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Train the run that CONFIG.yaml describes. The same command goes on with a run that was interrupted, and
    answers at once for one that is finished.
    """
    from lwgan_dist.config import TrainConfig
    from lwgan_dist.configfile import located, read_config

    check_name(name)
    config = read_config(TrainConfig, config_file, changes)
    if workers is not None:
        config = config.model_copy(update={"execution": config.execution.model_copy(update={"workers": workers})})
    config = at_address(config, address)
    with located(config_file, changes):
        check_manifold(config.run())
    from lwgan_dist.storage import inside

    out = inside(storage, name) if name else None
    with located(config_file, changes):
        _execute(
            config.run(), config.execution, Path(config_file).stem, out, dry_run, as_json, verbose, storage,
            metric_names(metrics),
        )  # fmt: skip


def _execute(
    config: "RunConfig", execution: "ExecutionConfig", name: str, out: str | None,
    dry_run: bool, as_json: bool, verbose: bool, storage: str = "runs", metrics: Sequence[str] = (),
    fits: int = 1, competitors: bool = False,
) -> None:  # fmt: skip
    """Train a run in its folder, further fits beneath it, and show the result."""
    check_manifold(config)
    check_device(execution)
    if fits > 1 and not config.model.estimates_dimension:
        raise ConfigError(f"--replicates: a {config.model.name} estimates no dimension")
    from lwgan_dist.data.sample import load_sample
    from lwgan_dist.reporting.opening import say_findings, say_opening

    sample = load_sample(config.data)
    if not dry_run:
        say_opening(config, sample, fits)  # the rest waits for torch
    from lwgan_dist.configfile import to_yaml
    from lwgan_dist.reporting.terminal import ProgressLine
    from lwgan_dist.run.run import Run
    from lwgan_dist.storage import Folder, inside

    run = Run(config, sample=sample)
    further = [finding for finding in run.findings if finding not in sample.findings]
    if not dry_run:
        say_findings(further)
    run.refuse_metrics(metrics)
    folder = Folder.at(out or inside(storage, f"{re.sub('[^A-Za-z0-9._-]+', '-', name)[:40]}-{run.fingerprint}"))
    if dry_run:
        iterations = sum(stage.iterations for stage in run.stages)
        tell(f"run folder: {folder.location}\niterations: {iterations}{f' of each of {fits} fits' * (fits > 1)}\n")
        say_opening(config, sample, fits)
        say_findings(further)
        click.echo(run.config.model_dump_json() if as_json else to_yaml(run.config), nl=as_json)
        return
    with ProgressLine(name) as line:
        result = run.train(
            folder,
            execution,
            on_progress=line.update,
            notify=lambda message: line.say(f"{name}  {message}"),
            on_findings=None if logs.is_json() else lambda: None,  # said already
            metrics=metrics,
            verbose=verbose,
        )
    if fits > 1:
        from lwgan_dist.run.replicates import train_replicates

        result = train_replicates(run, folder, execution, fits, label=name, verbose=verbose)
    if competitors:
        result = _beside_competitors(run, folder, name)
    show_result(result, folder.location, as_json)


def _beside_competitors(run: "Run", folder: "Folder", name: str) -> "RunResult":
    """The result with what the competitors say; those that are not installed are named."""
    from lwgan_dist.study.competitors import COMPETITORS, add_competitors, installed

    if missing := [name for name in COMPETITORS if name not in installed()]:
        tell(f"note: {', '.join(missing)} beside the answer: pip install 'lwgan-dist[classical]'")
    return add_competitors(run, folder, lambda names: tell(f"{name}  {names} on the same rows"))


@click.command()
@click.argument("run_dir")
@click.option("--num", type=click.IntRange(1), required=True, help="Rows to generate.")
@click.option("--rank", type=click.IntRange(1), help="Latent rank.  [default: the estimated dimension]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", required=True, metavar="FILE.parquet")
@guarded
def generate(run_dir: str, num: int, rank: int | None, seed: int, out: str) -> None:
    """Write rows generated by a finished run, in the units and with the columns of its data.

    Rows of another shape, such as images, are written as a column of tensors of this shape.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lwgan_dist.fitted import FittedModel
    from lwgan_dist.storage import Folder

    if not out.endswith(".parquet"):
        raise ConfigError(f"--out {out}: the name of the file must end in .parquet")
    model = FittedModel.load(Folder.at(run_dir).sub("model"))
    rows = model.generate(num, rank, seed)
    if rows.ndim == 2:
        table = pa.table({name: rows[:, i] for i, name in enumerate(model.columns)})
    else:
        name = re.sub(r"_?\d+$", "", model.columns[0])  # image_0 is of the column image, x1 of one without a name
        table = pa.table({name: pa.FixedShapeTensorArray.from_numpy_ndarray(rows)})
    try:
        pq.write_table(table, out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error})") from None
    tell(f"{num} rows at rank {rank or model.dimension} in {out}")

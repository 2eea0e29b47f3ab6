"""The command line. Heavy imports (torch, Ray, matplotlib) happen inside the commands, so that ``--help`` is quick."""

import io
import sys
from typing import Any

import click

from lwgan_dist.cli.comparisons import compare
from lwgan_dist.cli.data import data
from lwgan_dist.cli.demo import demo
from lwgan_dist.cli.doctor import doctor
from lwgan_dist.cli.inspection import metrics, report, show, validate
from lwgan_dist.cli.jobs import job, submit
from lwgan_dist.cli.runs import estimate, generate, train
from lwgan_dist.cli.searches import tune
from lwgan_dist.cli.studies import check, study
from lwgan_dist.interrupts import INTERRUPTED

__all__ = ["main"]


class Commands(click.Group):
    """A group whose commands end with 130 on Ctrl-C, also before they begin and while a first Ctrl-C is answered."""

    def invoke(self, ctx: click.Context) -> Any:
        """Click alone would end with 1."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows another
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lwgan-dist")
def main() -> None:
    """Learn the intrinsic dimension of data with latent Wasserstein GANs.

    \b
    lwgan-dist demo                            a table, its dimension and its page, in half a minute
    lwgan-dist estimate table.parquet          the dimension of a table, with the evidence
    lwgan-dist train CONFIG.yaml               the run of a configuration, on any number of workers
    lwgan-dist study CONFIG.yaml               is the estimate right, and from which n on?
    lwgan-dist tune CONFIG.yaml                which settings are best, and does the estimate depend on them?
    lwgan-dist compare CONFIG.yaml             how good are several models on the same data?
    lwgan-dist generate RUN_DIR --num 1000 --out new.parquet
    lwgan-dist show RUN_DIR                    configuration and result of a run
    lwgan-dist report DIR --open               one page for a run, study, search or comparison
    lwgan-dist metrics RUN_DIR                 how good its model is
    lwgan-dist validate CONFIG.yaml            check a configuration
    lwgan-dist data import fashion-mnist --out DIR
                                               images as a dataset with checksums; lwgan-dist data show PATH
    lwgan-dist check PACKAGE:CLASS             can a study use this class as an estimator?
    lwgan-dist doctor                          can this machine, or every node of a cluster, execute runs?
    lwgan-dist submit CONFIG.yaml --address http://HEAD:8265 -- study --storage s3://...
                                               the same on a cluster; lwgan-dist job list|status|logs|stop|resume

    \b
    Exit codes: 0 ok, 2 usage or configuration, 3 a run failed, 4 data rejected,
    5 cluster unreachable or refused, 130 interrupted (Ctrl-C, SIGTERM).
    LWGAN_DIST_LOG_FORMAT=json makes log records JSON lines.
    """  # noqa: D301  (click wants the character)


for command in (
    demo,
    estimate,
    train,
    study,
    check,
    tune,
    compare,
    generate,
    show,
    report,
    metrics,
    validate,
    data,
    doctor,
    submit,
    job,
):
    main.add_command(command)

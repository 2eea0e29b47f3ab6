"""What a person sees before a training: what was read, how it is standardised, what was found, how long it takes."""

import math
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lwgan_dist import logs
from lwgan_dist.config import FastSchedule, RunConfig, StandardizationChoice, TableData
from lwgan_dist.configbase import WIDTH
from lwgan_dist.data.findings.finding import Finding
from lwgan_dist.data.sample import Sample
from lwgan_dist.models.configs import LwganModel

_STANDARDIZED = {
    "global": "all numbers divided by one scale",
    "per_column": "each column divided by its own standard deviation",
    "none": "not at all",
    "pixels": "0..255 as 0.001..0.999",
}


def say_opening(config: RunConfig, sample: Sample, fits: int = 1) -> None:
    """What was read, how it will be standardised, what was found, and how long so many fits take, on standard error; of
    generated data nothing.
    """
    if not isinstance(config.data, TableData):
        return
    name = Path(config.data.path).name
    if logs.is_json():
        logs.event("data read", data=name, rows=sample.rows, shape=list(sample.shape))
        return  # the run, which has a name then, records the findings
    say(f"{name}: {_size(sample)}; standardised: {standardization(sample.config.standardize)}")
    say_findings(sample.findings)
    if length := expected_length(config, sample):
        say(f"training takes {length}{f', each of {fits} fits' if fits > 1 else ''}")


def standardization(how: StandardizationChoice) -> str:
    """``each column divided by its own standard deviation (data.standardize=per_column)``."""
    return f"{_STANDARDIZED[how]} (data.standardize={how})"


def _size(sample: Sample) -> str:
    rows = "a stream of rows" if sample.rows is None else f"{sample.rows} rows"
    return f"{rows} of {sample.shape[0]} columns" if len(sample.shape) == 1 else f"{rows} of shape {sample.shape}"


def say_findings(findings: Iterable[Finding]) -> None:
    """Findings, a paragraph each; for programs, the run records them."""
    for finding in () if logs.is_json() else findings:
        say(f"{finding.level}: {finding}", "yellow" if finding.level == "warning" else "")


def say(text: str, style: str = "") -> None:
    """A paragraph on standard error, wrapped where there is a terminal."""
    console = Console(stderr=True, highlight=False)
    console.print(Text(logs.printable(text), style), soft_wrap=not console.is_terminal)


_SECONDS, _SECONDS_WIDE, _WIDE = 25.0, 110.0, 20
"""Processor seconds of a fit with the default settings in few columns, at least, and in many, at most
(``docs/population/runs.parquet``: 31 to 52 of up to 11 columns, 27 to 108 of 20 and 100)."""


def expected_length(config: RunConfig, sample: Sample) -> str | None:
    """``about 25 to 55 s of a core of its own`` for a fit of perceptrons under ``fast``; None where none were timed."""
    schedule, usual = config.schedule, FastSchedule()
    if config.model != LwganModel() or not isinstance(schedule, FastSchedule) or len(sample.shape) > 1:
        return None
    updates, usually = (
        of.embedding_rounds * of.embedding_iterations + of.matching_iterations for of in (schedule, usual)
    )
    width = max(1.0, (config.networks.width or WIDTH) / WIDTH)
    most = _SECONDS_WIDE if sample.ambient_dim >= _WIDE else _SECONDS_WIDE / 2
    first, last = (5 * math.ceil(seconds * updates / usually * width**2 / 5) for seconds in (_SECONDS, most))
    return (
        f"about {first} to {last} s of a core of its own"
        if first > 5
        else f"less than {last + 5} s of a core of its own"
    )

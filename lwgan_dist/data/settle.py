"""What the rows of a table decide, before anything is learned: which columns are used and how they are standardised
where the configuration leaves that open (``standardize: auto``), and what a person should know of them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.config import ArrayData, StandardizationChoice, TableConfig
from lwgan_dist.data.blocks import Array, Filling, blocks
from lwgan_dist.data.files.loading import Reading
from lwgan_dist.data.files.tables import Table, read_configured
from lwgan_dist.data.findings.columns import (
    constant_columns,
    counters,
    differing_units,
    dominant_columns,
    kept_counters,
    large_values,
    left_out_counters,
    missing_codes,
    one_hot_columns,
    times,
)
from lwgan_dist.data.findings.finding import Finding, Overview, have_meanings, note
from lwgan_dist.data.findings.rows import few_rows, outweighing_rows, repeated_rows


class Settled(NamedTuple):
    """Rows for which everything is decided.

    Attributes:
        table: the rows, without columns that were left out.
        changes: settings of ``data`` that were left open, written out.
        findings: of what was decided against the usual.
    """

    table: Table
    changes: dict[str, object]
    findings: list[Finding]


def settle(config: TableConfig | ArrayData, table: Table) -> Settled:
    """Decide what a configuration leaves to the rows; nothing under a standardisation that is named.

    Columns that certainly number the rows are left out of a table whose columns are not named in the configuration.
    """
    if config.standardize != "auto":
        return Settled(table, {}, [])
    if table.rows.ndim > 2 or not have_meanings(table.columns):
        return Settled(table, {"standardize": "global"}, [])
    changes: dict[str, object] = {}
    findings: list[Finding] = []
    with np.errstate(all="ignore"):
        seen = Overview.of(table.rows, table.columns)
        out = [counter for counter in counters(seen) if counter.is_certain]
        rest = np.delete(np.arange(len(table.columns)), [counter.position for counter in out])
        if isinstance(config, TableConfig) and config.columns is None and out and seen.varying[rest].any():
            names = seen.names([counter.position for counter in out])
            findings.append(left_out_counters(names, [counter.what for counter in out]))
            table = replace(table, rows=_with_columns(table.rows, rest), columns=seen.names(list(rest)))
            changes |= {"columns": list(table.columns), "drop": None}
            if table.reading.dropped_rows:  # maybe for the want of a number that is left out now
                reread = read_configured(config.model_copy(update=changes))
                table = replace(
                    reread, reading=replace(reread.reading, how=table.reading.how, left_out=table.reading.left_out)
                )
            seen = Overview.of(table.rows, table.columns)
        units = differing_units(seen)
    findings += [units] if units else []
    return Settled(table, {**changes, "standardize": "per_column" if units else "global"}, findings)


def _with_columns(rows: Array, positions: NDArray[np.int64]) -> Array:
    copy = Filling(len(rows), (len(positions),), rows.dtype)
    for _, block in blocks(rows):
        copy.put(block[:, positions])
    return copy.rows()


def _how_read(reading: Reading) -> Iterator[Finding]:
    """What was found out about a file, and what of it is not used."""
    if reading.line:
        settings = "data.separator, data.decimal, data.encoding, data.columns, data.drop or data.missing"
        yield note("reading", reading.line, f"say it with {settings} if it is not so")


def look_at(table: Table, standardize: StandardizationChoice) -> list[Finding]:
    """Everything that a person should know of rows that will be standardised so; warnings come first."""
    with np.errstate(all="ignore"):
        seen = Overview.of(table.rows, table.columns)
        findings = [
            *few_rows(seen), *missing_codes(seen), *kept_counters(seen), *times(seen), *large_values(seen),
            *one_hot_columns(seen), *_how_read(table.reading),
            *(dominant_columns(seen) if standardize in ("global", "auto") else ()),
            *outweighing_rows(seen, by_column=standardize == "per_column"),
            *repeated_rows(seen), *constant_columns(seen),
        ]  # fmt: skip
    return sorted(findings, key=lambda finding: finding.level != "warning")

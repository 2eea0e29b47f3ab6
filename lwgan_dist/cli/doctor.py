"""``doctor``: whether runs can work on this machine, or on every node of a cluster."""

import json
import sys
from typing import TYPE_CHECKING

import click

from lwgan_dist.cli.common import address_option, guarded, json_option, verbose_option, without_infinities
from lwgan_dist.errors import ClusterError

if TYPE_CHECKING:
    from lwgan_dist.cluster.findings import Checkup, Finding

_MOST_NODES = 20
_MOST_NAMES = 4
_STYLES = {"problem": "bold red", "warning": "yellow", "note": "", "ok": "green"}


@click.command(short_help="Can runs work on this machine, or on every node of a cluster?")
@address_option
@click.option(
    "--storage", metavar="DIR", default="runs", show_default=True, help="Folder or URI in which runs are to live."
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
    help="How long a node has to answer.",
)  # fmt: skip
@json_option
@verbose_option
@guarded
def doctor(address: str | None, storage: str, timeout: float, as_json: bool, verbose: bool) -> None:
    """Look at this machine, or at every node of a cluster, before days are spent on it.

    Compares versions and code, tries the storage from every node, looks at GPUs, token, limits and the network between
    the nodes, and says of everything that is not right how to mend it. Ends with 0 if there is no problem (there may be
    warnings), else with 5. What it writes to the storage it removes.
    """
    from lwgan_dist.cluster.doctor import examine
    from lwgan_dist.cluster.findings import findings, report

    checkup = examine(address, storage, seconds=timeout, verbose=verbose)
    collected = findings(checkup)
    summary = report(checkup, collected)
    if as_json:
        click.echo(json.dumps(without_infinities(summary), allow_nan=False))
    else:
        _print(checkup, collected)
    if not summary["ok"]:
        sys.exit(ClusterError.exit_code)


def _print(checkup: "Checkup", collected: "list[Finding]") -> None:
    """The nodes, what is right in a line each, then what is not, with the mend."""
    from rich.markup import escape
    from rich.table import Table

    from lwgan_dist.reporting.terminal import Screen

    console = Screen(highlight=False, width=None if sys.stdout.isatty() else 120)
    where = f"cluster at {checkup.address}" if checkup.joined else "this machine, with a Ray of its own"
    count = len(checkup.nodes)
    console.print(f"{where}: {count} node{'s' if count > 1 else ''}\n", soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("node", "host", "CPUs", "memory", "GPUs", ""):
        table.add_column(column, justify="right" if column in ("CPUs", "memory", "GPUs") else "left")
    for node in checkup.nodes[:_MOST_NODES]:
        memory = node.get("memory_bytes")
        table.add_row(
            node["name"],
            escape(node["host"]),
            f"{node['resources'].get('CPU', 0):g}",
            "" if memory is None else f"{memory / 2**30:.0f} GiB",
            f"{node['resources'].get('GPU', 0):g}",
            "head" if node["head"] else "",
        )
    console.print(table)
    if count > _MOST_NODES:
        console.print(f".. and {count - _MOST_NODES} more (all of them: --json)")
    console.print()
    width = max(len(finding.check) for finding in collected) + 2
    for level in ("ok", "note", "warning", "problem"):
        for finding in collected:
            if finding.level != level:
                continue
            head = f"[{_STYLES[level]}]{level:<8}[/]" if _STYLES[level] else f"{level:<8}"
            names = _names(finding.nodes, count)
            console.print(f"{head} {finding.check:<{width}}{escape(names + finding.what)}", soft_wrap=True)
            if finding.mend:
                console.print(f"{'':<{9 + width}}-> {escape(finding.mend)}", soft_wrap=True)
    problems = sum(finding.level == "problem" for finding in collected)
    warnings = sum(finding.level == "warning" for finding in collected)
    console.print(
        f"\n{problems or 'no'} problem{'' if problems == 1 else 's'}, "
        f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}"
    )


def _names(nodes: tuple[str, ...], count: int) -> str:
    if not nodes or count == 1:
        return ""
    if len(nodes) == count:
        return f"all {count} nodes: "
    more = len(nodes) - _MOST_NAMES
    return ", ".join(nodes[:_MOST_NAMES]) + (f" and {more} more: " if more > 0 else ": ")

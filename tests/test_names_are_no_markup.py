"""Names of columns, files and labels are shown as they are: they steer no terminal, no figure and no page."""

import io
from contextlib import redirect_stderr

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from matplotlib.text import Text
from rich.markup import escape
from tiny_study import TINY

from lwgan_dist.campaign.sources import SampledManifold
from lwgan_dist.cli import main
from lwgan_dist.cli.common import tell
from lwgan_dist.logs import visible
from lwgan_dist.reporting import look
from lwgan_dist.reporting.terminal import ProgressLine, Screen, StudyProgress

HOSTILE = "a\x1b[31mb\x9b2Jc\rd\u202ee"
SHOWN = "a\\x1b[31mb\\x9b2Jc\\rd\\u202ee"
MARKUP = [
    "Price ($/m^2)",
    "$_$",
    "$\\frac{$",
    "[bold]x[/nobold]",
    "<script>alert(1)</script>",
    "a_b^c\\d",
    "$$",
    "{{ 7 * 7 }}",
]
QUICK = [
    "networks.width=2", "networks.latent_dim=2", "schedule.batch_size=16", "schedule.embedding_iterations=2",
    "schedule.embedding_rounds=1", "schedule.matching_iterations=2", "schedule.critic_iterations=20",
    "score.evaluations=3", "--no-competitors",
]  # fmt: skip


def test_a_run_on_columns_with_such_names_ends_well(tmp_path, monkeypatch):
    """Figures are drawn, with all names in them."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(60, len(MARKUP) + 1))
    names = [*MARKUP, HOSTILE]
    pq.write_table(pa.table({name: rows[:, i] for i, name in enumerate(names)}), f"{HOSTILE}.parquet")
    result = CliRunner().invoke(main, ["estimate", f"{HOSTILE}.parquet", *QUICK, "data.standardize=none", "--out", "r"])
    assert result.exit_code == 0, result.output
    assert not set("\x1b\x9b\u202e") & set(result.output)
    assert SHOWN in result.stderr


@pytest.mark.parametrize("name", MARKUP)
def test_every_text_of_a_figure_is_drawn_as_it_stands(name):
    made, (axes,) = look.panels([name])
    axes.plot([0, 1], [1, 0], label=name)
    axes.set_xlabel(name)
    look.ticks(axes, [0, 1], [name, name])
    look.legend(made)
    look.settled(made, name)
    assert look.png(made)
    assert not any(text.get_parse_math() for text in made.findobj(Text) if text.get_text())


def test_control_characters_reach_no_terminal():
    sink = io.StringIO()
    Screen(file=sink, width=200, highlight=False).print(f"[bold]{escape(HOSTILE)}[/bold]", soft_wrap=True)
    assert sink.getvalue() == SHOWN.replace("\\r", "") + "\n"  # rich itself leaves that one out
    with redirect_stderr(io.StringIO()) as lines:
        tell(f"{HOSTILE}\nsecond line")
        with ProgressLine(HOSTILE) as line:
            line.say(HOSTILE)
        with StudyProgress(HOSTILE) as study:
            study.begin(3, "runs")
    assert lines.getvalue().splitlines() == [SHOWN, "second line", SHOWN, f"{SHOWN}  0/3 runs"]


def test_line_breaks_of_a_screen_stay():
    assert visible("a\nb\t", "\n") == "a\nb\\t"


@pytest.mark.parametrize("sign", ["\x00", "\x1b", "\x7f", "\x9b", "/", "\\", "\u202e"])
def test_a_label_has_no_control_characters(sign):
    with pytest.raises(ValueError, match="label"):
        SampledManifold(name="s_curve", label=f"a{sign}b")
    assert SampledManifold(name="s_curve", label="a é [b] $").label
    assert TINY["data"]

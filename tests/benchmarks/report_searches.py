"""Importances, figures and summary of a published search, made again from the trials and runs beside them.

    python tests/benchmarks/report_searches.py docs/searches/digits docs/searches/noisy_s_curve

Nothing is trained. The searched fields are those of the file of the same name in ``tune_configs/search``; date and
notes of the summary stay.
"""

import re
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

from lwgan_dist.configfile import read_config
from lwgan_dist.reporting import files
from lwgan_dist.reporting.page import Page
from lwgan_dist.search.analysis import importances
from lwgan_dist.search.config import SearchConfig
from lwgan_dist.search.figures import search_figures
from lwgan_dist.search.publish import Published, read_published, search_axes, search_files
from lwgan_dist.search.report import search_page
from lwgan_dist.storage import Folder

CONFIGS = Path(__file__).parents[2] / "tune_configs" / "search"


def recomputed(path: Path) -> tuple[Published, SearchConfig]:
    """What is published in a folder, with the importances that follow from its trials, and the search of today."""
    published = read_published(Folder.at(str(path)))
    config = read_config(SearchConfig, str(CONFIGS / f"{path.name}.yaml"))
    table = importances(published.tables.trials, list(config.space), config.seed)
    return replace(published, tables=replace(published.tables, importances=table)), config


def page_of(path: Path, published: Published) -> Page:
    """The page, with date and notes of the summary in the folder."""
    text = (path / files.SUMMARY).read_text()
    day = re.match(r"# .*, (\S+)\n", text)
    notes = re.search(r"\n## Notes\n\n(.*?)\n\n## ", text, re.DOTALL)
    assert day
    assert notes
    folder = Folder.at(str(path))
    return search_page(
        published.tables, published.facts, created=date.fromisoformat(day[1]), title=f"Search: {path.name}",
        notes=notes[1].split("\n\n"), files=files.relative(folder, search_files(folder)),
    )  # fmt: skip


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        (published, config), folder = recomputed(path), Folder.at(path.as_posix())
        figures = search_figures(published.tables, search_axes(config), published.facts.objectives)
        files.write_tables(folder, {"importances": published.tables.importances}, always=())
        files.write_figures(folder, figures)
        page = page_of(path, published)
        folder.write(files.SUMMARY, page.markdown({name: f"{files.FIGURES}/{name}.png" for name in figures}).encode())


if __name__ == "__main__":
    main()

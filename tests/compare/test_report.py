"""The page says what the tables say, takes nothing from elsewhere, and no label can break out of it; figures show what
the models have.
"""

from datetime import date

import numpy as np
import pytest
from page_reading import Reader, markdown_tables, source_of, table_of, without_its_script
from tiny import MODELS
from tiny_compare import TINY, WAE, comparison
from tiny_study import Silent

from lwgan_dist.campaign.named_model import MODELS as NAMED
from lwgan_dist.compare import publish
from lwgan_dist.compare.comparison import Outcome
from lwgan_dist.compare.publish import read_tables
from lwgan_dist.compare.report import compare_page
from lwgan_dist.compare.work import kept
from lwgan_dist.data.sample import load_sample
from lwgan_dist.reporting.pictures import Shown, View, pictures
from lwgan_dist.reporting.values import number_text

pytestmark = pytest.mark.usefixtures("blank_figures")

EVIL = "a\"b | <script>alert(1)</script> & 'c'"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison of one replicate at three n, published."""
    folder = tmp_path_factory.mktemp("page") / "comparison"
    data = [{"name": "s_curve", "label": EVIL.replace("/", "")}]
    prepared = comparison(folder, data=data, sizes=[40, 50, 60], replicates=2)
    outcome = prepared.execute(Silent(), lambda outcome: publish.publish(prepared, outcome, "tiny"))
    return prepared, outcome, folder


def test_every_mean_and_difference_is_in_both(made):
    _, outcome, folder = made
    markdown = (folder / "summary.md").read_text()
    reader = Reader((folder / "report.html").read_text())
    metrics = ["energy_distance", "sliced_wasserstein", "reconstruction"]
    header = ["model", *metrics, "fresh_sliced_wasserstein", "fresh_energy_distance"]
    for tables in (markdown_tables(markdown), reader.tables):
        grids = [table for table in tables if table[0] == header]
        assert len(grids) == 6  # at each n the means and the differences
        rows = [row for row in outcome.tables.compare.to_pylist() if row["n"] == 40]
        for row in (row for row in rows if row["model"] == "WAE"):
            place = header.index(row["metric"])
            (mean,) = (line[place] for line in grids[0] if line[0] == "WAE")
            assert mean == f"{number_text(row['mean'])} [{number_text(row['low'])}, {number_text(row['high'])}]"
            (difference,) = (line[place] for line in grids[3] if line[0] == "WAE")
            assert difference.startswith(number_text(row["difference"]))
        assert grids[0][-1][0] == "floor"
        assert grids[0][-1][-1] == number_text(rows[-1]["floor"])
    rates = table_of(markdown_tables(markdown), ["data", "model", "distance"])
    assert len(rates) == 1 + outcome.tables.rates.num_rows == 1 + 8


def test_the_page_is_one_file_and_names_stay_names(made):
    _, _, folder = made
    page = without_its_script((folder / "report.html").read_text())
    reader = Reader(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    links = [value for name, value in reader.attributes if name in ("src", "href")]
    assert links
    assert all(source_of(link) for link in links)
    assert "<script" not in (folder / "summary.md").read_text()


def test_the_figures_are_those_that_the_models_have(made):
    _, _, folder = made
    names = {path.stem for path in (folder / "figures").iterdir()}
    kinds = {"samples", "reconstructions", "interpolations", "ranks", "latent", "losses"}
    assert names == {"metrics", "generalisation"} | {f"{kind}_1" for kind in kinds}
    assert (folder / "tb").exists()


def test_what_was_written_is_read_again(made):
    prepared, outcome, _ = made
    for name, table in vars(read_tables(prepared.folder)).items():
        assert table.equals(vars(outcome.tables)[name])


def test_a_note_says_of_which_rows_the_floors_of_a_table_are(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((50, 3)))
    told = {"data": [{"path": str(tmp_path / "rows.npy")}], "models": [{**WAE, "latent_dim": 2}]}
    prepared = comparison(tmp_path / "new", metrics=["sliced_wasserstein", "w1"], **told)
    of_floors = [note for note in publish.caveats(prepared, Outcome(None, [], {}, 0)) if "floor" in note]
    assert of_floors == [
        "The floor of sliced_wasserstein is on a table of as many rows as it was trained on, where these are fewer "
        "than the 2,048 that are generated; then it is a little too large."
    ]


def test_without_anything_to_say_sections_are_left_out(made):
    _, outcome, _ = made
    tables = type(outcome.tables)(*(table.schema.empty_table() for table in vars(outcome.tables).values()))
    page = compare_page(tables, "lwgan", created=date(2026, 11, 30)).markdown({})
    assert "Metrics" not in page
    assert "Generalisation" not in page


class WithoutEncoder:
    """The networks of a model that generates alone."""

    def __init__(self, networks):
        self.generator, self.encoder, self.decoder = networks.generator, None, networks.decoder


def test_a_model_without_encoder_has_no_reconstructions_and_no_codes(made):
    prepared, _, _ = made
    run = next(run for run in prepared.design.runs() if run.cell.model == "WAE")
    model, losses = kept(prepared.folder.sub("models").sub(run.key))
    alone = type(model)(WithoutEncoder(model.networks), model.config, model.standardizer, model.columns, 2)
    drawn = pictures(load_sample(run.config.data), [Shown("GAN", alone, 2, [2], losses)])
    assert set(drawn) == {"samples", "interpolations", "losses"}


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4), (3, 5, 4)])
def test_images_are_drawn_in_a_grid(shape):
    from lwgan_dist.reporting import look

    rows = np.random.default_rng(0).uniform(0, 255, (9, *shape))
    view = View(rows)
    _, (axes,) = look.panels(["images"])
    view.draw(axes, rows, "red")
    (image,) = axes.images
    assert image.get_array().shape[:2] == (3 * 5, 3 * 4)
    low, high = rows.min(), rows.max()
    first = (rows[4] - low) / (high - low)
    expected = first if len(shape) == 2 else np.moveaxis(first, 0, -1).squeeze()
    np.testing.assert_allclose(image.get_array()[5:10, 4:8], expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # of torch.func.jvp, in the ARD-VAE
def test_every_registered_model_can_be_compared(tmp_path):
    """Without a word about it here: what a model lacks is left out, of a GAN the reconstruction."""
    models = [{"name": "lwgan"}] + [told["model"] for told in MODELS.values() if "model" in told]
    prepared = comparison(tmp_path / "all", data=TINY["data"][:1], models=models, replicates=1)
    outcome = prepared.execute(Silent(), lambda outcome: publish.publish(prepared, outcome, "all"))
    assert (outcome.unfinished, outcome.failed) == ({}, 0)
    runs = {row["name"]: row for row in outcome.tables.runs.to_pylist()}
    assert runs.keys() == MODELS.keys()
    for name, row in runs.items():
        assert (row["dimension"] is not None) == NAMED[name].estimates_dimension
        assert (row["reconstruction"] is not None) == NAMED[name].has_encoder
        assert row["fresh_energy_distance"] is not None
    assert (tmp_path / "all" / "figures" / "samples_1.png").exists()

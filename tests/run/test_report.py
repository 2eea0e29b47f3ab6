"""The page of a run: what it says is what the folder and the data say."""

import json
import re
import shutil

import fsspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from page_reading import Reader, source_of, table_of, without_its_script
from pyarrow import fs
from tiny import FAST, MODELS, on_images

from lwgan_dist.cli import main
from lwgan_dist.config import ExecutionConfig, RunConfig, override
from lwgan_dist.errors import ConfigError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.reporting.answer import stance
from lwgan_dist.results import Competitor, Fits, Replicate, scores_from_parquet
from lwgan_dist.run.folder import amend_result, read_result
from lwgan_dist.run.report import write_report
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

pytestmark = pytest.mark.usefixtures("blank_figures")

HERE = ExecutionConfig(workers=0)
EVIL = "</td><script>x</script> $a$ {{ 7 * 7 }}"


def trained(config: dict, place) -> Folder:
    folder = Folder.at(str(place))
    Run(RunConfig.model_validate(config)).train(folder, HERE)
    return folder


def page_of(folder: Folder, beside: Folder | None = None) -> str:
    location = write_report(folder, beside)
    assert location == f"{folder.location}/report.html"
    return folder.read("report.html").decode()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with a column of an evil name, and one row that is far from the others."""
    place = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((120, 2)) @ rng.standard_normal((2, 3))
    rows[17] += 40.0
    pd.DataFrame(rows, columns=[EVIL, "b", "c"]).to_parquet(place / "table.parquet")
    return trained(override(FAST, {"data": {"source": "table", "path": str(place / "table.parquet")}}), place / "run")


def test_the_answer_is_the_results_and_comes_first(table):
    page, result = page_of(table), read_result(table)
    lead = re.search(r'<p class="lead">(.*?)</p>', page).group(1)
    assert lead.startswith(f"The data look {result.dimension}-dimensional (")
    assert page.index('class="lead"') < page.index("<table>")
    scores = table_of(Reader(page).tables, ["rank", "score"])[1:]
    assert [line[0].split()[0] for line in scores] == [str(row.rank) for row in result.rank_scores]
    assert [line[1] for line in scores] == [f"{row.score:.4f}" for row in result.rank_scores]
    assert [line[0] for line in scores if "chosen" in line[0]] == [f"{result.dimension} (chosen)"]


def test_the_rows_that_are_explained_worst_are_those_of_the_model(table):
    worst = table_of(Reader(page_of(table)).tables, ["row", "part"])[1:]
    rows = pd.read_parquet(json.loads(table.read("model/model.json"))["config"]["data"]["path"]).to_numpy()
    model = FittedModel.load(table.sub("model"))
    errors = np.linalg.norm((rows - model.decode(model.encode(rows))) / model.standardizer.scale, axis=1)
    order = np.argsort(-errors)[: len(worst)]
    assert [line[0] for line in worst] == [str(place) for place in order]
    assert [line[2] for line in worst] == [f"{errors[place]:.4f}" for place in order]
    assert worst[0][0] == "17"
    run = Run.of(table)
    assert {line[0] for line in worst if line[1] == "hold-out"} == {
        line[0] for line in worst if int(line[0]) in run.sample.holdout.picks
    }


def test_columns_are_compared_and_their_names_stay_names(table):
    page = page_of(table)
    reader = Reader(without_its_script(page))
    assert reader.open == []
    assert "script" not in reader.tags
    columns = table_of(reader.tables, ["column", "distance"])[1:]
    assert sorted(line[0] for line in columns) == sorted([EVIL, "b", "c"])
    distances = [float(line[1]) for line in columns]
    assert distances == sorted(distances, reverse=True)
    assert all(0.0 <= distance <= 1.0 for distance in distances)
    addresses = [value for name, value in reader.attributes if name == "src"]
    assert len(addresses) == 10  # scores, splits, rows, six of the model, columns
    assert all(source_of(address) for address in addresses)


def test_the_page_says_how_to_reproduce_the_run(table):
    page = page_of(table)
    facts = {line[0]: line[1] for line in table_of(Reader(page).tables, ["fact", "value"])[1:]}
    result, environment = read_result(table), json.loads(table.read("env.json"))
    assert facts["fingerprint"] == result.fingerprint
    assert facts["data, SHA-256"] == environment["run"]["data_sha256"]
    assert f"torch {environment['versions']['torch']}" in facts["versions"]
    assert "holdout_fraction: 0.1" in page


def test_competitors_and_further_fits_have_a_table_each(table, tmp_path):
    copy = Folder.at(str(shutil.copytree(table.location, tmp_path / "copy")))
    result = read_result(copy)
    competitors = [
        Competitor(name="ABIDE", value=float(result.dimension), dimension=result.dimension, rows=120, cpu_seconds=0.25),
        Competitor(name="DANCo", rows=120, failure=EVIL),
    ]
    replicates = [Replicate(seed=1, dimension=3, rank_set=[2, 3], other_dimension=3, run_dir="replicates/seed-1"),
                  Replicate(seed=2, run_dir="replicates/seed-2", failure="diverged")]  # fmt: skip
    amend_result(copy, competitors=competitors, fits=Fits.of(result.dimension, result.rank_set, replicates))
    page = page_of(copy)
    assert "ABIDE says" in re.search(r'<p class="lead">(.*?)</p>', page).group(1)
    assert table_of(Reader(page).tables, ["estimator"])[1:] == [
        ["ABIDE", str(result.dimension), str(result.dimension), stance(read_result(copy), competitors[0]), "0.25"],
        ["DANCo", "-", "-", EVIL, "0.00"],
    ]
    assert [line[1:] for line in table_of(Reader(page).tables, ["seed", "dimension"])[2:]] == [
        ["3", "2 to 3", "3", "replicates/seed-1"], ["-", "-", "-", "diverged"],
    ]  # fmt: skip
    assert "classical estimators" not in page_of(table)


def test_two_runs_stand_beside_each_other(table, tmp_path):
    other = trained(override(FAST, {"networks.latent_dim": 2}), tmp_path / "other")
    grid = table_of(Reader(page_of(table, other)).tables, ["fact"])
    assert len(grid[0]) == 3
    by_name = {line[0]: line[1:] for line in grid[1:]}
    assert by_name["dimension"] == [str(read_result(one).dimension) for one in (table, other)]
    assert by_name["largest rank"] == ["3", "2"]
    assert by_name["rows"] == ["120", "200"]
    assert [name.split("/")[-1] for name in grid[0][1:]] == ["run", "other"]
    assert "Beside the other run" not in page_of(table)
    with pytest.raises(ConfigError, match="is the run itself"):
        write_report(table, Folder.at(table.location))


def test_a_page_without_the_data_says_so(table, tmp_path):
    copy = Folder.at(str(tmp_path / "copy"))
    for name in ("result.json", "config.yaml", "env.json", "scores.parquet"):
        copy.write(name, table.read(name))
    for name in ("model.json", "model.safetensors"):
        copy.sub("model").write(name, table.sub("model").read(name).replace(b"table.parquet", b"gone.parquet"))
    page = page_of(copy)
    assert "left out: " in page
    assert "gone.parquet" in page
    assert "Does it hold on rows that were not trained on?" in page  # the scores by rank are in the folder
    assert "What the model makes of the data" not in page


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_models_of_one_latent_size_have_a_page(name, tmp_path):
    folder = trained(MODELS[name], tmp_path / "run")
    page = page_of(folder)
    assert f"{name} of latent size 2, which estimates no dimension" in page
    assert ("explains worst at rank 2" in page) == (name == "vae")  # a GAN gives rows no codes
    assert "Column by column" in page


def test_images_and_streams_have_a_page(tmp_path):
    page = page_of(trained(on_images(tmp_path), tmp_path / "images"))
    assert "image/png" in page  # pictures stay as they are
    assert "Column by column" not in page
    stream = trained(override(FAST, {"data.rows": "stream"}), tmp_path / "stream")
    page = page_of(stream)
    assert "What the model makes of the data" in page
    assert "explains worst" not in page


def test_the_command_writes_it_and_names_what_has_none(table, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("click.launch", opened.append)
    done = CliRunner().invoke(main, ["report", table.location, "--open"])
    assert (done.exit_code, done.stdout) == (0, f"{table.location}/report.html\n")
    assert opened == [f"{table.location}/report.html"]
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (2, f"error: {tmp_path}: holds no run (no result.json)\n")
    campaign = Folder.at(str(tmp_path / "study"))
    campaign.write("report.html", b"page")
    done = CliRunner().invoke(main, ["report", campaign.location])
    assert (done.exit_code, done.stdout) == (0, f"{campaign.location}/report.html\n")
    done = CliRunner().invoke(main, ["report", campaign.location, "--compare", table.location])
    assert done.exit_code == 2
    assert "holds no run" in done.stderr


def test_a_run_in_an_object_store_has_a_page_that_cannot_be_opened_here(table, monkeypatch):
    store = Folder(fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory"))), "bucket/run", "memory://bucket/run")
    monkeypatch.setattr(Folder, "at", lambda _location: store)
    for name in ("result.json", "config.yaml", "env.json", "scores.parquet"):
        store.write(name, table.read(name))
    done = CliRunner().invoke(main, ["report", "memory://bucket/run", "--open"])
    assert done.exit_code == 2
    assert "is not on this machine" in done.stderr
    assert store.has("report.html")


def test_scores_by_rank_are_those_of_both_parts(table):
    """The figure of both parts is drawn from the tables that the run wrote."""
    from lwgan_dist.reporting.figures import splits_figure

    result, tables = read_result(table), scores_from_parquet(table.read("scores.parquet"))
    figure = splits_figure(result, tables, "reconstruction")
    drawn = [line.get_ydata() for line in figure.axes[0].lines[:1]]
    place = list(result.rank_scores[0].components).index("reconstruction")
    np.testing.assert_allclose(drawn[0], tables["train"][:, :, place].mean(axis=0))
    assert splits_figure(result, {"train": tables["train"]}, "reconstruction") is None


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        write_report(Folder.at(str(tmp_path)))

"""The scikit-learn face."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from tiny import MODELS

from lwgan_dist import ARDVAE, GAN, LWGAN, VAE, WAE, WGANGP, CycleGAN, DataWarning, NestedDropoutAE, estimate
from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.data.simulated.manifolds import s_curve
from lwgan_dist.errors import ConfigError
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder
from lwgan_dist.study import competitors

pytestmark = [
    pytest.mark.usefixtures("blank_figures"),
    pytest.mark.filterwarnings("ignore::lwgan_dist.DataWarning"),  # the samples are tiny
]

TINY = {
    "networks.width": 2,
    "schedule.embedding_iterations": 2,
    "schedule.matching_iterations": 2,
    "schedule.critic_iterations": 20,
    "schedule.scoring_interval": 1,
    "score.evaluations": 2,
}


def tiny(**told):
    return LWGAN(told.pop("max_dimension", 2), settings=TINY, **told)


ONE_SIZE = {"model.width": 2, "model.evaluations": 2, "model.batch_size": 2}
"""Settings of a tiny model with one latent size."""


def tiny_of(estimator, **given):
    return estimator(given.pop("latent_dim", 2), iterations=4, settings=ONE_SIZE, **given)


@parametrize_with_checks([tiny(), tiny_of(VAE)])
def test_scikit_learn_accepts_the_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def x():
    return s_curve(generator(0, "test"), 120, 2)


@pytest.fixture(scope="module")
def fitted(x):
    return tiny(max_dimension=3).fit(x)


def test_fit_learns_a_dimension_between_one_and_the_largest(fitted):
    assert fitted.dimension_ in (1, 2, 3)
    assert fitted.score_path_.shape == (3,)
    assert fitted.dimension_ == 1 + fitted.score_path_.argmin()
    assert fitted.n_features_in_ == 3


def test_codes_rows_and_draws_have_their_shapes(fitted, x):
    codes = fitted.transform(x)
    assert codes.shape == (120, fitted.dimension_)
    assert fitted.inverse_transform(codes).shape == x.shape
    assert fitted.generate(7).shape == (7, 3)
    assert fitted.generate(7, rank=1).shape == (7, 3)
    with pytest.raises(ConfigError, match=r"rank must be in 1\.\.3"):
        fitted.generate(7, rank=4)


def test_draws_are_in_the_units_of_the_data(x):
    shifted = tiny().fit(1000.0 + 0.01 * x)
    assert np.abs(shifted.generate(50) - 1000.0).max() < 1.0


def test_numpy_pandas_and_torch_give_the_same(fitted, x):
    frame = tiny(max_dimension=3).fit(pd.DataFrame(x, columns=["a", "b", "c"]))
    tensor = tiny(max_dimension=3).fit(torch.from_numpy(x))
    assert list(frame.feature_names_in_) == ["a", "b", "c"]
    for other in (frame, tensor):
        np.testing.assert_array_equal(other.score_path_, fitted.score_path_)
    np.testing.assert_array_equal(tensor.transform(torch.from_numpy(x)), fitted.transform(x))


def test_bfloat16_is_taken_as_float32(fitted, x):
    narrow = torch.from_numpy(x).bfloat16()
    np.testing.assert_array_equal(fitted.transform(narrow), fitted.transform(narrow.float().numpy()))


def test_what_a_mask_hides_is_not_taken_for_data(fitted, x):
    masked = np.ma.masked_greater(x, np.sort(x, axis=None)[-2])
    with pytest.raises(ValueError, match=r"numpy\.ma\.compress_rows"):
        fitted.transform(masked)
    whole = np.ma.compress_rows(masked)
    np.testing.assert_array_equal(fitted.transform(whole), fitted.transform(np.ma.array(whole)))


def test_images_are_taken_and_given_as_images_and_learned_as_vectors(x):
    images = np.rint(20 * np.tile(x, 4)).astype(np.int16).reshape(120, 3, 4)
    fitted, flat = tiny().fit(images), tiny().fit(images.reshape(120, 12).astype(np.float64))
    np.testing.assert_array_equal(fitted.score_path_, flat.score_path_)
    assert fitted.n_features_in_ == flat.n_features_in_ == 12
    codes = fitted.transform(images)
    np.testing.assert_array_equal(codes, flat.transform(images.reshape(120, 12)))
    np.testing.assert_array_equal(codes, fitted.transform(images.reshape(120, 12)))
    np.testing.assert_array_equal(codes, fitted.transform(torch.from_numpy(images)))
    assert fitted.inverse_transform(codes).shape == images.shape
    assert fitted.generate(7).shape == (7, 3, 4)
    assert fitted.at_tear(images).shape == (120,)
    with pytest.raises(ValueError, match=r"rows of shape \(4, 3\), but LWGAN was fitted on \(3, 4\)"):
        fitted.transform(images.transpose(0, 2, 1))
    with pytest.raises(ValueError, match="NaN"):
        tiny().fit(np.full((120, 3, 4), np.nan))


def test_codes_are_a_frame_with_names_where_that_is_asked_for(fitted, x):
    names = [f"lwgan{i}" for i in range(fitted.dimension_)]
    assert list(fitted.get_feature_names_out()) == names
    frame = clone(fitted).set_output(transform="pandas").fit_transform(pd.DataFrame(x, index=range(5, 125)))
    assert list(frame.columns) == names
    assert list(frame.index) == list(range(5, 125))
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(x))


def test_the_score_is_minus_the_mean_reconstruction_error_of_standardised_rows(fitted, x):
    apply = fitted.model_.standardizer.apply
    again = fitted.inverse_transform(fitted.transform(x))
    errors = [np.linalg.norm(row) for row in apply(x) - apply(again)]
    assert fitted.score(x) == pytest.approx(-np.mean(errors))
    search = GridSearchCV(tiny_of(VAE), {"latent_dim": [1, 2]}, cv=2).fit(x)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max() < 0


def test_the_answer_is_there_in_words_and_as_a_figure(fitted):
    answer, *notes = fitted.summary().split("\n")
    assert answer.startswith(f"The data look {fitted.dimension_}-dimensional")
    assert fitted.result_.notes == notes[len(fitted.findings_) :]
    scores, components, by_resolution = fitted.plot_scores().axes
    assert list(scores.lines[0].get_xdata()) == [1, 2, 3]
    assert components.get_title() == "components of the score"
    assert by_resolution.get_xlabel().startswith("resolution")


def test_progress_is_shown_if_it_is_asked_for(x, capsys):
    tiny(verbose=True).fit(x)
    assert "LWGAN  " in capsys.readouterr().err
    tiny().fit(x)
    assert capsys.readouterr().err == ""


def test_the_seed_decides_and_an_unseeded_fit_differs(fitted, x):
    again, other = tiny(max_dimension=3).fit(x), tiny(max_dimension=3, random_state=1).fit(x)
    np.testing.assert_array_equal(again.score_path_, fitted.score_path_)
    assert not np.array_equal(other.score_path_, fitted.score_path_)


def test_saved_and_loaded_it_is_the_same(fitted, x, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = LWGAN.load(tmp_path / "model")
    assert loaded.dimension_ == fitted.dimension_
    np.testing.assert_array_equal(loaded.transform(x), fitted.transform(x))
    np.testing.assert_array_equal(loaded.generate(5, seed=3), fitted.generate(5, seed=3))
    assert loaded.result_.rank_scores == fitted.result_.rank_scores


def test_parameters_and_feature_names_are_saved_too(x, tmp_path):
    named = tiny().fit(pd.DataFrame(x, columns=["a", "b", "c"]))
    named.save(tmp_path / "model")
    loaded = LWGAN.load(tmp_path / "model")
    assert loaded.get_params() == named.get_params()
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]


def test_a_run_folder_is_kept_where_asked_and_loads(x, tmp_path):
    kept = tiny(run_dir=str(tmp_path / "run")).fit(x)
    assert (tmp_path / "run" / "result.json").exists()
    np.testing.assert_array_equal(LWGAN.load(tmp_path / "run").score_path_, kept.score_path_)


def test_loading_from_nowhere_says_so(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        LWGAN.load(tmp_path)


def test_the_class_is_an_lwgan_and_no_other_model(tmp_path):
    with pytest.raises(ConfigError, match=r"settings: model\.name: this class is an lwgan \(got wae\)"):
        LWGAN(settings={"model.name": "wae"}).fit(np.random.default_rng(0).normal(size=(100, 3)))
    run = Run(RunConfig.model_validate(MODELS["wae"]))
    run.train(Folder.at(str(tmp_path)), ExecutionConfig(workers=0))
    with pytest.raises(ConfigError, match="holds a wae, and this class is an lwgan"):
        LWGAN.load(tmp_path)


@pytest.mark.parametrize("estimator", [WAE, VAE, ARDVAE, NestedDropoutAE, CycleGAN])
def test_every_model_has_a_class_that_maps_generates_and_is_saved(estimator, x, tmp_path):
    fitted = tiny_of(estimator).fit(x)
    assert fitted.result_.model == estimator.model_name
    assert fitted.dimension_ == fitted.result_.dimension
    codes = fitted.transform(x)
    assert codes.shape == (120, fitted.dimension_ or 2)
    assert fitted.inverse_transform(codes).shape == x.shape
    assert fitted.generate(7).shape == (7, 3)
    fitted.save(tmp_path / "model")
    loaded = estimator.load(tmp_path / "model")
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.transform(x), codes)
    with pytest.raises(ConfigError, match=f"holds a {estimator.model_name}, and this class is an lwgan"):
        LWGAN.load(tmp_path / "model")


@pytest.mark.parametrize("estimator", [GAN, WGANGP])
def test_a_class_without_encoder_generates_and_refuses_to_transform(estimator, x):
    fitted = tiny_of(estimator).fit(x)
    assert (fitted.result_.model, fitted.dimension_) == (estimator.model_name, None)
    assert fitted.generate(7).shape == (7, 3)
    assert not hasattr(fitted, "transform")
    assert not hasattr(fitted, "fit_transform")
    with pytest.raises(ConfigError, match=f"a {estimator.model_name} has no encoder"):
        fitted.model_.encode(x)


def test_the_parameters_of_a_model_with_one_size_are_its_own(x):
    assert tiny_of(VAE, latent_dim=1).fit(x).transform(x).shape == (120, 1)
    assert tiny_of(VAE).fit(x).model_.config.model.iterations == 4
    assert VAE().set_params(settings=ONE_SIZE, latent_dim=2, iterations=2).fit(x).result_.max_dimension == 2


# findings -------------------------------------------------------------------------------------------------------------


def test_what_is_found_in_the_data_is_a_warning_each_and_kept():
    frame = pd.DataFrame(s_curve(generator(0, "test"), 120, 2) * [1.0, 1000.0, 1.0], columns=["length", "mass", "age"])
    frame["customer_id"] = np.random.default_rng(0).permutation(120) * 7 + 3
    with pytest.warns(DataWarning) as warned:
        estimator = tiny().fit(frame)
    said = [str(warning.message) for warning in warned]
    assert [finding.kind for finding in estimator.findings_] == ["row_numbers", "differing_units"]
    assert said[0].endswith("kept; leave it out if so")
    assert 'standardize="global"' in said[1]
    assert estimator.model_.columns == tuple(frame.columns)
    assert estimator.model_.config.data.standardize == "per_column"


def test_one_function_gives_the_answer_with_its_competitors_and_replicates(x, fitted, monkeypatch, tmp_path):
    monkeypatch.setattr(competitors, "installed", lambda: ["ABIDE"])
    result = estimate(x, max_dimension=3, settings=TINY, replicates=2)
    same = {"cpu_seconds", "wall_seconds", "competitors", "fits"}
    assert result.model_dump(exclude=same) == fitted.result_.model_dump(exclude=same)
    assert [one.name for one in result.competitors] == ["ABIDE"]
    assert [one.seed for one in result.fits.replicates] == [1]
    with pytest.warns(DataWarning, match="rows") as warned:
        alone = estimate(x[:30], competitors=False, max_dimension=3, settings=TINY, run_dir=str(tmp_path / "run"))
    assert {warning.filename for warning in warned} == {__file__}
    assert (alone.competitors, alone.fits, alone.run_dir) == ([], None, str(tmp_path / "run"))


def test_arrays_without_names_are_standardised_as_before(x):
    estimator = tiny().fit(x * [1.0, 1.0, 20.0])
    assert estimator.result_ == tiny(standardize="global").fit(x * [1.0, 1.0, 20.0]).result_.model_copy(
        update={name: getattr(estimator.result_, name) for name in ("cpu_seconds", "wall_seconds")}
    )

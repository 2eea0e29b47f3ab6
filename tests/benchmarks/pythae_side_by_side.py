"""The VAE and the WAE of this package beside those of Pythae: the same images, layers, batches and epochs.

Pythae is no dependency. In a folder of its own, with what is installed here, without another torch:

``pip install --no-deps --target /tmp/pythae pythae==0.1.2 imageio==2.38.1``
``OMP_NUM_THREADS=1 PYTHONPATH=/tmp/pythae python tests/benchmarks/pythae_side_by_side.py``; some minutes of one core.

The trousers of Fashion-MNIST (Debian's package `dataset-fashion-mnist`), a sixth of them held out. Three ways for each
model, an epoch of each in turn in one process, so that what else the machine does meets all alike:

- Pythae, with its objective: VAE ||x - y||^2 / 2 + KL, WAE ||x - y||^2 + 0.03 MMD; pixels in [0, 1], then a sigmoid.
- ours as near to that as it can be: the same layers and pixels, the VAE's decoder with standard deviation 1 (the same
  objective), the WAE with our ||x - y|| + MMD.
- ours by default: rows standardised globally, a linear path beside the layers, the VAE's variance that of the errors.

Adam from 0.002 to a fortieth along half a cosine, in Pythae by epochs. Printed: processor milliseconds an epoch (the
first one left out), mean squared error a pixel of held-out rows, Frechet distances of as many generated rows to them in
the three spaces of `lwgan-dist metrics`; pixels in [0, 1]. Mean over seeds and, behind +-, their standard deviation.
"""

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pythae.models import VAE, WAE_MMD, VAEConfig, WAE_MMD_Config
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.drawn import Drawn
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.run.prepare import Prepared
from lwgan_dist.seeding import generator
from lwgan_dist.training.trainer import Trainer

PATH = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
TROUSER, LATENT_DIM, BATCH_SIZE, RATE, PIXELS = 1, 10, 128, 2e-3, 28 * 28
MEASURES = ("fd_cnn", "fd_random", "fd_pca")
SAME: dict[str, dict[str, Any]] = {"vae": {"linear_path": False, "noise": 0.998}, "wae": {"linear_path": False}}
"""As near to Pythae as it can be; 0.998 is the unit of pixels in [0, 1] under ``standardize: pixels``."""

Images = NDArray[Any]


def layers(widths: list[int], end: nn.Module) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*parts[:-1], end)


class Encoder(BaseEncoder):  # type: ignore[misc]
    """The layers of our encoder; for a VAE mean and log variance side by side."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = layers([PIXELS, 8 * width, 4 * width, 2 * width, width, outputs], nn.Identity())
        self.latent_dim = LATENT_DIM

    def forward(self, x: Tensor) -> ModelOutput:
        """Codes, as Pythae takes them."""
        codes = self.layers(x.flatten(1))
        return ModelOutput(embedding=codes[:, :LATENT_DIM], log_covariance=codes[:, LATENT_DIM:])


class Decoder(BaseDecoder):  # type: ignore[misc]
    """The layers of our generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = layers([LATENT_DIM, width, 2 * width, 4 * width, 8 * width, PIXELS], nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        """Rows, as Pythae takes them."""
        return ModelOutput(reconstruction=self.layers(z).view(-1, 1, 28, 28))


class InTurn(TrainingCallback):  # type: ignore[misc]
    """After every epoch of Pythae one of each of ours; processor seconds of all."""

    def __init__(self, ours: dict[str, Callable[[], None]]) -> None:
        self._ours, self._begun, self.seconds = ours, 0.0, defaultdict[str, list[float]](list)

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Pythae's epoch begins."""
        self._begun = time.process_time()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """It has ended."""
        self.seconds["Pythae"].append(time.process_time() - self._begun)
        for name, epoch in self._ours.items():
            before = time.process_time()
            epoch()
            self.seconds[name].append(time.process_time() - before)


def prepared(model: dict[str, Any], standardize: str, seed: int, arguments: argparse.Namespace) -> Prepared:
    """A run of ours; the iterations are those of so many epochs."""
    data = {"source": "table", "path": PATH, "labels": [TROUSER], "holdout_fraction": 1 / 6, "standardize": standardize}
    model = {"latent_dim": LATENT_DIM, "width": arguments.width, "batch_size": BATCH_SIZE, "learning_rate": RATE,
             "networks": "mlp", "iterations": arguments.epochs * arguments.batches} | model  # fmt: skip
    return Prepared(RunConfig.model_validate({"data": data, "model": model, "seed": seed, "precision": "float32"}))


def epochs_of(trainer: Trainer, batches: int) -> Callable[[], None]:
    """What trains for one more epoch."""
    loop = trainer.run()
    return lambda: [next(loop) for _ in range(batches)] and None


def pythae_of(name: str, arguments: argparse.Namespace) -> Any:
    """A new model of Pythae with the layers of ours."""
    told = {"input_dim": (1, 28, 28), "latent_dim": LATENT_DIM}
    decoder = Decoder(arguments.width)
    if name == "vae":
        return VAE(VAEConfig(**told), Encoder(arguments.width, 2 * LATENT_DIM), decoder)
    return WAE_MMD(WAE_MMD_Config(**told), Encoder(arguments.width, LATENT_DIM), decoder)


def train(name: str, model: Any, rows: Images, seed: int, epochs: int, in_turn: InTurn) -> Any:
    """Pythae's model after its training, as it keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, per_device_train_batch_size=BATCH_SIZE, learning_rate=RATE, seed=seed,
            optimizer_params={"betas": (0.9, 0.99)}, scheduler_cls="CosineAnnealingLR", no_cuda=True,
            scheduler_params={"T_max": epochs, "eta_min": RATE / 40},
        )  # fmt: skip
        pipeline = TrainingPipeline(model=model, training_config=settings)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            pipeline(torch.from_numpy(rows[:, None]), callbacks=[in_turn])
    trained = pipeline.trainer._best_model
    trained.eval()
    return trained


def measured(x: Images, reconstructed: Images, generated: Images) -> dict[str, float]:
    """Of images in [0, 1]: held-out ones, the same reconstructed, and as many generated ones."""
    drawn = Drawn(x, generated, reconstructed, seed=0)
    return {"mse": float(np.square(x - reconstructed).mean())} | {m: METRICS[m].compute(drawn) for m in MEASURES}


@torch.no_grad()
def of_pythae(model: Any, x: Images) -> dict[str, float]:
    """With the mean code of a row as its code."""
    codes = model.encoder(torch.from_numpy(x)).embedding
    generated = NormalSampler(model).sample(num_samples=len(x), batch_size=len(x), return_gen=True)
    reconstructed = model.decoder(codes)["reconstruction"]
    return measured(x, *(rows.numpy().astype(np.float64).reshape(x.shape) for rows in (reconstructed, generated)))


def of_ours(run: Prepared, trainer: Trainer, x: Images) -> dict[str, float]:
    """The same of a model of this package."""
    networks: Any = trainer.model.networks
    model = FittedModel(networks, run.config, run.sample.standardizer, run.sample.columns, LATENT_DIM)
    rows = model.decode(model.encode(255.0 * x)), model.generate(len(x), seed=run.config.seed)
    return measured(x, *(values / 255.0 for values in rows))


def in_pixels(sample: Sample, split: str) -> Images:
    """The rows of a part of the sample, in [0, 1]."""
    rows = getattr(sample, split)
    return np.asarray(sample.standardizer.undo(rows[:]) / 255.0, np.float32)


def compared(name: str, seed: int, arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """(which one, what was measured) of a model and a seed."""
    runs = {
        "ours, as near": prepared({"name": name} | SAME[name], "pixels", seed, arguments),
        "ours, by default": prepared({"name": name}, "global", seed, arguments),
    }
    trainers = {key: trainer_of(run.config, run.sample) for key, run in runs.items()}
    in_turn = InTurn({key: epochs_of(trainer, arguments.batches) for key, trainer in trainers.items()})
    torch.manual_seed(seed)
    sample = runs["ours, as near"].sample
    x = in_pixels(sample, "holdout")
    model = train(name, pythae_of(name, arguments), in_pixels(sample, "train"), seed, arguments.epochs, in_turn)
    values = {"Pythae": of_pythae(model, x)} | {key: of_ours(run, trainers[key], x) for key, run in runs.items()}
    for key, told in values.items():
        yield key, {"ms": 1e3 * float(np.mean(in_turn.seconds[key][1:]))} | told


def floor(arguments: argparse.Namespace) -> dict[str, float]:
    """Frechet distances of as many training rows to the held-out ones."""
    sample = prepared({"name": "vae"}, "pixels", 0, arguments).sample
    x, others = in_pixels(sample, "holdout"), in_pixels(sample, "train")
    picks = generator(0, "pythae/floor").choice(len(others), len(x), replace=False)
    return measured(x, x, others[picks])


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(SAME), default=list(SAME))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.batches = -(-5_000 // BATCH_SIZE)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    print(", ".join(f"{name} {version(name)}" for name in ("pythae", "lwgan-dist", "torch")), sys.version.split()[0])
    print("floor", {key: f"{value:.4g}" for key, value in floor(arguments).items() if key != "mse"}, flush=True)
    for name in arguments.models:
        told = defaultdict[str, list[dict[str, float]]](list)
        for seed in range(arguments.seeds):
            for key, values in compared(name, seed, arguments):
                told[key].append(values)
        for key, rows in told.items():
            columns = {measure: np.array([row[measure] for row in rows]) for measure in rows[0]}
            shown = (f"{measure} {v.mean():.4g} +- {v.std(ddof=1):.2g}" for measure, v in columns.items())
            print(f"{name} {key}: {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()

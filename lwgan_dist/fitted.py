"""A fitted model outside its run: encode, decode and generate in the units of the data; save and load anywhere."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load, save
from scipy.spatial.distance import cdist
from torch import Tensor

from lwgan_dist.config import RunConfig, read_before
from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.errors import ConfigError
from lwgan_dist.models.base import FittedNetworks, load_parameters
from lwgan_dist.models.registry import kind_of
from lwgan_dist.networks.base import Shape
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder, damage_named

_TENSORS, _DESCRIPTION, _SCHEMA = "model.safetensors", "model.json", 2
_ROWS_AT_ONCE = 8192


class _Description(BaseModel):
    """The content of ``model.json``."""

    version: int = Field(alias="schema")
    dimension: PositiveInt
    columns: list[str]
    shift: list[Any]
    scale: list[Any]
    config: dict[str, Any]

    def read(self) -> tuple[RunConfig, Standardizer]:
        """The configuration and the units.

        Raises:
            ValueError: they do not fit together.
        """
        config = RunConfig.model_validate(read_before(self.config))
        shift, scale = np.array(self.shift, dtype=np.float64), np.array(self.scale, dtype=np.float64)
        if shift.shape != scale.shape or shift.size != len(self.columns) or not np.isfinite([shift, scale]).all():
            raise ValueError("columns and units do not fit together")
        if self.dimension > kind_of(config).latent_dim(config):
            raise ValueError("the dimension is above the largest rank")
        return config, Standardizer(shift, scale)


@dataclass(frozen=True)
class FittedModel:
    """The networks of a finished run with what is needed to use them.

    Attributes:
        networks: on the CPU.
        config: of the run, resolved.
        standardizer: between the units of the data and those of the networks.
        columns: names of the numbers of a row, in the order in which they are stored.
        dimension: the rank used where none is given: the estimated one or, without an estimate, the largest.
        tear: rows of the training data that lie at a tear, in the units of the networks, flat: shape (k, p), and the
            distance of each to its farthest neighbour, shape (k,); None where nothing was torn.
    """

    networks: FittedNetworks
    config: RunConfig
    standardizer: Standardizer
    columns: tuple[str, ...]
    dimension: int
    tear: tuple[Array, Array] | None = None

    @property
    def shape(self) -> Shape:
        """Shape of a row."""
        return self.standardizer.shift.shape

    @property
    def encodes(self) -> bool:
        """Whether rows have codes, and so reconstructions: not those of a model without an encoder."""
        return self.networks.encoder is not None

    @property
    def latent_dim(self) -> int:
        """q, the largest rank."""
        return kind_of(self.config).latent_dim(self.config)

    def encode(self, rows: Array, rank: int | None = None) -> NDArray[np.float64]:
        """Codes Q_r(x) without their zero coordinates, shape (n, r), for rows of the data, shape (n, *shape).

        Raises:
            ConfigError: the model has no encoder, see `encodes`; or no such rank.
        """
        rank, encoder = self._rank(rank), self.networks.encoder
        if encoder is None:
            raise ConfigError(f"a {self.config.model.name} has no encoder: it generates rows, and gives them no codes")
        return self._map(lambda x: encoder(x, torch.tensor(rank))[:, :rank], rows, self.standardizer.apply)

    def at_tear(self, rows: Array) -> NDArray[np.bool_]:
        """Which rows lie where closed data were torn open, shape (n,): codes of neighbours may lie far apart.

        A row does if it is nearer to a training row at the tear than that one's farthest neighbour in the graph. Where
        groups of directions were laid out by themselves, the tear of any of them counts; in many directions neighbours
        are far, so more rows are flagged than lie at a tear.

        Args:
            rows: of the data, shape (n, *shape).
        """
        flags = np.zeros(len(rows), dtype=bool)
        if self.tear is None:
            return flags
        torn, reach = self.tear
        for i in range(0, len(rows), _ROWS_AT_ONCE):
            x = flat(self.standardizer.apply(rows[i : i + _ROWS_AT_ONCE]))
            flags[i : i + _ROWS_AT_ONCE] = (cdist(x, torn) <= reach).any(axis=1)
        return flags

    def decode(self, codes: Array) -> NDArray[np.float64]:
        """Rows G(z) in the units of the data, shape (n, *shape), for codes of shape (n, r), r <= q.

        Raises:
            ValueError: more coordinates than the largest rank.
        """
        if codes.shape[1] > self.latent_dim:
            raise ValueError(f"codes have at most {self.latent_dim} coordinates (got {codes.shape[1]})")
        z = np.pad(np.asarray(codes, dtype=np.float64), ((0, 0), (0, self.latent_dim - codes.shape[1])))
        return self.standardizer.undo(self._map(self.networks.decoder(codes.shape[1]), z))

    def generate(self, n: int, rank: int | None = None, seed: int = 0) -> NDArray[np.float64]:
        """N draws G(z_r) with z_r from the latent distribution of rank r, in units of the data, shape (n, *shape)."""
        codes = generator(seed, "generate").standard_normal((n, self.latent_dim))[:, : self._rank(rank)]
        return self.decode(codes)

    def save(self, folder: Folder) -> None:
        """Write ``model.safetensors`` and ``model.json``, the latter last."""
        tensors = {
            f"network/{name}/{key}": value.contiguous()
            for name, network in self.networks.named().items()
            for key, value in network.state_dict().items()
        }
        if self.tear is not None:
            rows, reach = self.tear
            tensors |= {"tear/rows": torch.from_numpy(rows), "tear/reach": torch.from_numpy(reach)}
        description = {
            "schema": _SCHEMA,
            "dimension": self.dimension,
            "ambient_dim": len(self.columns),
            "columns": list(self.columns),
            "shift": self.standardizer.shift.tolist(),
            "scale": self.standardizer.scale.tolist(),
            "config": self.config.model_dump(mode="json"),
        }
        folder.write(_TENSORS, save(tensors))
        folder.write(_DESCRIPTION, json.dumps(description, indent=1).encode())

    @classmethod
    def load(cls, folder: Folder) -> "FittedModel":
        """Read what `save` wrote.

        Raises:
            ConfigError: there is no model in the folder, or one of another version.
        """
        if not (folder.has(_DESCRIPTION) and folder.has(_TENSORS)):
            raise ConfigError(f"{folder.location}: holds no fitted model ({_DESCRIPTION} and {_TENSORS})")
        description = folder.read_json(_DESCRIPTION, _Description)
        if description.version != _SCHEMA:
            raise ConfigError(f"{folder.location}: model of schema {description.version}, this program reads {_SCHEMA}")
        content = folder.read(_TENSORS)
        with damage_named(folder.location):
            try:
                tensors = load(content)
            except SafetensorError as error:
                raise ValueError(f"{_TENSORS}: {error}") from None
            config, standardizer = description.read()
            _refuse_others(config, standardizer.shift.shape, tensors)
            networks = networks_of(config, standardizer.shift.shape, tensors)
            columns, dimension = tuple(description.columns), description.dimension
            return cls(networks, config, standardizer, columns, dimension, tear_of(tensors))

    def _rank(self, rank: int | None) -> int:
        rank = self.dimension if rank is None else rank
        if not 1 <= rank <= self.latent_dim:
            raise ConfigError(f"the rank must be in 1..{self.latent_dim} (got {rank})")
        return rank

    @torch.no_grad()
    def _map(
        self, function: Callable[[Tensor], Tensor], rows: Array, change: Callable[[Array], Array] = np.asarray
    ) -> NDArray[np.float64]:
        """Apply a network to rows, changed first, a bounded number at once."""
        dtype = next(self.networks.generator.parameters()).dtype
        parts: list[Tensor] = [
            function(torch.as_tensor(change(rows[i : i + _ROWS_AT_ONCE]), dtype=dtype))
            for i in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        return torch.cat(parts).double().numpy() if parts else np.empty((0, 0))


def _refuse_others(config: RunConfig, shape: Shape, tensors: dict[str, Tensor]) -> None:
    """Refuse tensors that are not those of the networks of a configuration, before networks of its size are made.

    Raises:
        ValueError: they are not.
    """
    with torch.device("meta"):
        networks = kind_of(config).networks(config, shape).named()
    meant = {
        f"network/{name}/{key}": value.shape
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    given = {name: tensor.shape for name, tensor in tensors.items() if name.startswith("network/")}
    if meant != given:
        raise ValueError(f"{_TENSORS} does not hold the networks of its configuration")


def tear_of(tensors: dict[str, Tensor]) -> tuple[Array, Array] | None:
    """Rows at a tear and their reach from the tensors of a checkpoint or a saved model; None if nothing was torn."""
    if len(tensors.get("tear/rows", ())) == 0:
        return None
    return tensors["tear/rows"].numpy().copy(), tensors["tear/reach"].numpy().copy()


def networks_of(config: RunConfig, shape: Shape, tensors: dict[str, Tensor]) -> FittedNetworks:
    """Networks of a resolved configuration with the parameters of a checkpoint or a saved model."""
    networks = kind_of(config).networks(config, shape)
    load_parameters(networks, tensors)
    return networks

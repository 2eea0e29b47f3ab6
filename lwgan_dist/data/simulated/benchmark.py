"""The 24 manifolds on which estimators of the intrinsic dimension are compared, as scikit-dimension draws them.

Sources: Hein and Audibert, "Intrinsic dimensionality estimation of submanifolds in R^d", ICML 2005; Campadelli,
Casiraghi, Ceruti and Rozza, "Intrinsic dimension estimation: relevant techniques and a benchmark framework", 2015.
The extra ``classical`` brings the library.
"""

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from lwgan_dist.errors import ConfigError

DIMENSIONS: dict[str, tuple[int, int]] = {
    "M1_Sphere": (10, 11),
    "M2_Affine_3to5": (3, 5),
    "M3_Nonlinear_4to6": (4, 6),
    "M4_Nonlinear": (4, 8),
    "M5a_Helix1d": (1, 3),
    "M5b_Helix2d": (2, 3),
    "M6_Nonlinear": (6, 36),
    "M7_Roll": (2, 3),
    "M8_Nonlinear": (12, 72),
    "M9_Affine": (20, 20),
    "M10a_Cubic": (10, 11),
    "M10b_Cubic": (17, 18),
    "M10c_Cubic": (24, 25),
    "M10d_Cubic": (70, 71),
    "M11_Moebius": (2, 3),
    "M12_Norm": (20, 20),
    "M13a_Scurve": (2, 3),
    "M13b_Spiral": (1, 13),
    "Mbeta": (10, 40),
    "Mn1_Nonlinear": (18, 72),
    "Mn2_Nonlinear": (24, 96),
    "Mp1_Paraboloid": (3, 12),
    "Mp2_Paraboloid": (6, 21),
    "Mp3_Paraboloid": (9, 30),
}
"""Intrinsic dimension and columns by the name that scikit-dimension gives a manifold."""


def benchmark_rows(name: str, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """N rows of a manifold of `DIMENSIONS`, shape (n, columns), without noise.

    Raises:
        ConfigError: scikit-dimension, or pandas, which its benchmark needs, is not installed.
    """
    try:
        datasets = import_module("skdim.datasets")
        drawn = datasets.BenchmarkManifolds(random_state=int(rng.integers(2**32)))
    except ImportError as error:
        raise ConfigError(
            f"data.name: {name} is drawn by scikit-dimension ({error}): pip install 'lwgan-dist[classical]'"
        ) from None
    dim, columns = DIMENSIONS[name]
    return np.asarray(drawn.generate(name, n=n, dim=columns, d=dim), dtype=np.float64)

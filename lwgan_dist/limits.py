"""What is refused by arithmetic, before anything is allocated: what would not fit into the memory of this machine."""

from lwgan_dist.errors import ConfigError


def refuse_bytes(key: str, what: str, size: float, *, share: float = 1.0) -> None:
    """Refuse what takes more memory than there is.

    Args:
        key: of the configuration, for the error.
        what: takes it, for the error.
        size: bytes that it takes at the least.
        share: of the memory of this machine that it may take.

    Raises:
        ConfigError: it is more.
    """
    import psutil

    most = share * psutil.virtual_memory().total
    if size > most:
        of_machine = "the memory of this machine" if share == 1.0 else f"{share:.0%} of the memory of this machine"
        raise ConfigError(
            f"{key}: {what} would take {_gibibytes(size)} or more, and {of_machine} are {_gibibytes(most)}"
        )


MOST_BYTES = 2**44
"""16 TiB: what no machine holds in memory, wherever a run will be."""


def refuse_endless(rows: int, numbers: int) -> None:
    """Refuse a sample that no machine could hold, also where another one than this will draw it.

    Raises:
        ConfigError: it takes more than `MOST_BYTES`.
    """
    size = 8.0 * rows * numbers
    if size > MOST_BYTES:
        raise ConfigError(
            f"data.n: {rows:,} rows of {numbers:,} numbers would take {_gibibytes(size)}, and at most "
            f"{_gibibytes(MOST_BYTES)} are possible"
        )


def refuse_sample(rows: int, numbers: int) -> None:
    """Refuse a sample that is drawn into memory, with float64 numbers, of which several copies exist at times.

    Raises:
        ConfigError: it takes more than half of the memory of this machine.
    """
    refuse_bytes("data.n", f"{rows:,} rows of {numbers:,} numbers", 8.0 * rows * numbers, share=0.5)


def _gibibytes(size: float) -> str:
    return f"{size / 2**30:,.3g} GiB" if size < 2**50 else f"{size / 2**30:.1e} GiB"

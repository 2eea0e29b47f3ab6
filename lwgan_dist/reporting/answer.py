"""The answer of a run in words: what the fits say, what the rows held out say, and whether others say the same."""

from collections.abc import Iterator, Sequence
from typing import Literal

from lwgan_dist.results import Competitor, Fits, Replicate, RunResult

BY_HEART = 2.0
"""Reconstruction error of held-out rows in multiples of that of training rows from which the answer speaks of it."""

Stance = Literal["agrees", "in the set", "disagrees"]


def answer_sentence(result: RunResult) -> str:
    """The answer in words: The data look 5-dimensional (90 %: 4 to 6), and so do the rows held out. ABIDE says 5, TwoNN
    4.6, MLE 5.1: they agree.
    """
    if result.dimension is None:
        answer = (
            f"{result.model} of latent size {result.max_dimension}, which estimates no dimension, in "
            f"{result.ambient_dim} columns."
        )
    elif _parts_disagree(result):
        answer = (
            f"The data fall into {len(result.parts)} parts of different dimensions: {_parts(result)}. Taken as a whole "
            f"they need rank {_dimension(result)}."
        )
    else:
        answer = (
            f"The data look {_dimension(result)}-dimensional{_set_text(result)}{_held_out(result)}{_by_heart(result)}"
            f"{'' if result.intrinsic_dim is None else f'; they are {result.intrinsic_dim}-dimensional'}."
        )
    return " ".join([answer, *_votes(result.fits), *_competitors(result)])


def _parts_disagree(result: RunResult) -> bool:
    return len({part.dimension for part in result.parts} - {None}) > 1


def _parts(result: RunResult) -> str:
    """``60 % of the rows look 3-dimensional, 40 % 1-dimensional``, the largest first."""
    parts = sorted(result.parts, key=lambda part: -part.share)
    texts = [
        f"{100 * part.share:.0f} %{'' if place else ' of the rows look'} "
        + ("too few to say" if part.dimension is None else f"{part.dimension}-dimensional")
        for place, part in enumerate(parts)
    ]
    return ", ".join(texts)


def stance(result: RunResult, competitor: Competitor) -> Stance | None:
    """Whether a competitor agrees: its rounded value is in the rank set (without one: is the estimate) and at most one
    off the estimate; one that is further off is only ``in the set``, for a wide set excludes little. None if either has
    no estimate, or the parts of the data disagree: then no one number is right.
    """
    dimension = _dimension(result)
    if competitor.dimension is None or dimension is None or _parts_disagree(result):
        return None
    if competitor.dimension not in (_ranks(result) or [dimension]):
        return "disagrees"
    return "agrees" if abs(competitor.dimension - dimension) <= 1 else "in the set"


def value_of(competitor: Competitor) -> str:
    """``4.6``, ``5``; ``-`` for none. One that failed may have given a number nevertheless."""
    return "-" if competitor.value is None else f"{competitor.value:.1f}".removesuffix(".0")


def _dimension(result: RunResult) -> int | None:
    return result.fits.dimension if result.fits else result.dimension


def _ranks(result: RunResult) -> list[int] | None:
    return result.fits.rank_set if result.fits else result.rank_set


def _set_text(result: RunResult) -> str:
    """`` (90 %: 4 to 6)``; of several fits at least as much."""
    ranks = _ranks(result)
    if not (ranks and result.confidence):
        return ""
    first, last = ranks[0], ranks[-1]
    least = "at least " if result.fits else ""
    return f" ({least}{100 * result.confidence:.0f} %: {first if first == last else f'{first} to {last}'})"


def _held_out(result: RunResult) -> str:
    """Whether the rows that the score was not computed on say the same; of several fits, in how many they do not. Where
    neighbours lowered the estimate they lowered that of those rows, too, which then is no evidence of its own.
    """
    if result.lowered_from is not None and result.other_dimension in (None, result.dimension) and not result.fits:
        return f" by the distances between neighbouring rows, where networks need rank {result.lowered_from}"
    rows = "the rows held out" if result.score_on == "train" else "the training rows"
    replicates = result.fits.replicates if result.fits else []
    fits: list[RunResult | Replicate] = [result, *replicates]
    pairs = [(one.dimension, one.other_dimension) for one in fits if one.other_dimension is not None]
    others = sorted({other for own, other in pairs if other != own})
    if not pairs:
        return ""
    if not others:
        return f", and so do {rows}"
    if not replicates:
        return f", but {rows} say {others[0]}"
    differing = sum(other != own for own, other in pairs)
    return f", but in {differing} of {len(pairs)} fits {rows} say otherwise ({', '.join(map(str, others))})"


def _by_heart(result: RunResult) -> str:
    """That the networks reconstruct rows held out much worse than those that they were trained on."""
    held_out = result.metrics.get("reconstruction")
    if held_out is None or result.score_on != "train":
        return ""
    errors = {row.rank: row.components.get("reconstruction") for row in result.rank_scores}
    trained = errors.get(result.dimension or 0)  # a model with one latent size may have no row of the estimate
    if trained is None or held_out < BY_HEART * trained:
        return ""
    return (
        f"; the networks know the training rows by heart (reconstruction error {trained:.3g}, held out {held_out:.3g})"
    )


def _votes(fits: Fits | None) -> Iterator[str]:
    """How many fits say what: Of 5 fits, 1 says 12 and 3 say 13; 1 failed."""
    if fits is None:
        return
    count = 1 + len(fits.replicates)
    votes = [f"{votes} {'says' if votes == 1 else 'say'} {dimension}" for dimension, votes in fits.votes.items()]
    failed = count - sum(fits.votes.values())
    if fits.votes == {fits.dimension: count}:
        yield f"All {count} fits say {fits.dimension}."
    else:
        yield f"Of {count} fits, {_joined(votes)}{f'; {failed} failed' if failed else ''}."


def _competitors(result: RunResult) -> Iterator[str]:
    """Their values, and whether they agree: ABIDE says 5, TwoNN 3.2, MLE 5.1: TwoNN disagrees."""
    estimates = [one for one in result.competitors if one.dimension is not None]
    if not estimates:
        return
    values = [f"{one.name} {'' if place else 'says '}{value_of(one)}" for place, one in enumerate(estimates)]
    stances = {one.name: stance(result, one) for one in estimates}
    yield f"{', '.join(values)}{_verdict(stances)}."


def _verdict(stances: dict[str, Stance | None]) -> str:
    """``: they agree``, ``: TwoNN and MLE disagree``."""
    if None in stances.values():
        return ""
    kinds = set(stances.values())
    if len(kinds) == 1:
        return f": {_say(list(stances), kinds.pop(), 'it' if len(stances) == 1 else 'they')}"
    apart: dict[Stance, list[str]] = {"in the set": [], "disagrees": []}
    for name, kind in stances.items():
        if kind in apart:
            apart[kind].append(name)
    return ": " + _joined([_say(names, kind, _joined(names)) for kind, names in apart.items() if names])


def _say(names: Sequence[str], kind: Stance | None, subject: str) -> str:
    if kind == "in the set":
        return f"{subject} {'is' if len(names) == 1 else 'are'} in the set, but more than one off"
    return f"{subject} {kind if len(names) == 1 else str(kind).removesuffix('s')}"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

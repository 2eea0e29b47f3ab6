"""How the components of a model's score are named to readers."""

from typing import NamedTuple

from lwgan_dist.results import RunResult


class Words(NamedTuple):
    """A component of the score: the heading of its column in the terminal, its label in a figure."""

    heading: str
    label: str


_WORDS = {
    "reconstruction": Words("reconstr.", "reconstruction error"),
    "critic": Words("critic", "critic difference"),
    "gradient_penalty": Words("grad.pen.", "gradient penalty"),
    "mmd": Words("MMD²", "MMD²"),
    "jensen_shannon": Words("JS", "Jensen-Shannon divergence"),
    "adversarial": Words("advers.", "loss from both critics"),
    "cycle": Words("cycle", "cycle error"),
}
"""In the order in which they are shown; a component that is not here is shown after them, by its name."""


def component_words(result: RunResult) -> dict[str, Words]:
    """The components of a result by name, in the order in which they are shown."""
    names = result.rank_scores[0].components
    known = {name: words for name, words in _WORDS.items() if name in names}
    return known | {name: Words(name, name.replace("_", " ")) for name in names if name not in known}

"""Labels out of a person's own vocabulary, for vectors of any space that words can enter: pure functions.

An inner product with a label says little by itself: spaces differ, and in each some pictures are close to all words.
So every picture (or sound) brings its own null: its products with everyday phrases, of which all but a few have nothing
to do with it. Their upper tail, taken for exponential, says how probable it is that a phrase at random comes as close
as a label does; the vocabulary's size, how many of its labels would by chance:

    n by chance  =  n labels · P(a phrase at random comes as close)         score  =  1 / (1 + n by chance)

So 0.5 is where the best label of a picture would lie that none of them fits, as it is with the scores of a search.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from encoders.spec import Label, Vectors

THRESHOLD = 0.95
"""On 128 captioned pictures of animals, encoder `labels`, 40 labels of animals and 20 of things that none shows: 30
labels were given, 0.80 of them right, none of the 20; but only 0.18 of the labels that fit were. At 0.8 that was 0.25,
with 0.67 of 49 right."""
MOST = 5
"""Labels for one picture, the best."""
TAIL = 0.1
"""Share of the everyday phrases that is the upper tail."""
LEAST_SPREAD = 1e-4
"""Of the tail: where phrases all but coincide, what float32 rounds off would decide."""
ROWS_AT_ONCE = 16_384


@cache
def everyday() -> tuple[str, ...]:
    """Return phrases for all kinds of things that one sees and hears."""
    text = files("encoders").joinpath("everyday.txt").read_text("utf8")
    return tuple(line for line in text.splitlines() if line.strip())


def scores(vectors: Vectors, labels: Vectors, phrases: Vectors) -> NDArray[np.float32]:
    """Return how sure it is that each label fits each picture, float32 [N, L], in [0, 1].

    Args:
        vectors: of N pictures or sounds, float32 [N, dim], rows of unit norm.
        labels: of L labels in the same space.
        phrases: of the phrases `everyday` in the same space, float32 [B, dim].

    Raises:
        ValueError: there are too few phrases to have a tail.
    """
    n_tail = round(TAIL * len(phrases))
    if n_tail < 2:
        raise ValueError(f"A null needs at least {2 / TAIL:.0f} phrases, got {len(phrases)}; take those of `everyday`.")
    null = -np.sort(-(vectors @ phrases.T).astype(np.float64), axis=1)[:, : n_tail + 1]
    edge = null[:, -1:]
    spread = np.maximum((null[:, :-1] - edge).mean(axis=1, keepdims=True), LEAST_SPREAD)
    beyond = np.maximum((vectors @ labels.T - edge) / spread, np.log(TAIL))  # nothing is more probable than certain
    return np.asarray(1 / (1 + len(labels) * TAIL * np.exp(-beyond)), np.float32)


def labels_of(
    vectors: Vectors, names: tuple[str, ...], labels: Vectors, phrases: Vectors, threshold: float = THRESHOLD
) -> list[tuple[Label, ...]]:
    """Return for each picture the labels that fit it, best first; arguments as `scores`, `names` as `labels`."""
    found: list[tuple[Label, ...]] = []
    for at in range(0, len(vectors), ROWS_AT_ONCE):
        for row in scores(vectors[at : at + ROWS_AT_ONCE], labels, phrases):
            best = np.argsort(-row, kind="stable")[:MOST]
            found.append(tuple(Label(names[n], float(row[n])) for n in best if row[n] >= threshold))
    return found

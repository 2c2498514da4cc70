"""Which fusion weights find most: for a grid of them, scenes are fused anew in memory, from the stored vectors.

The questions are written ones (what a film shows) and spoken ones (what is said in it) together. A hit is the right
file at an overlapping time, among the first ten, as if `search(…, modality="scene")` had been asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import unit
from index.query import Questioner
from index.truths import SHARED, Place, is_moment
from pipeline.archive import Archive
from pipeline.media import Media, Modality, Moment, Outcome
from pipeline.recipe import Models
from pipeline.scenes import fuse_scenes
from pipeline.store.stored import stored_moments
from pipeline.store.tables import Tables
from tests.benchmarks.figures import Figure
from tests.benchmarks.retrieval import Asking, K, share_found
from tests.benchmarks.truths import Question, Truths

FUSED = (Modality.VISUAL, Modality.AUDIO, Modality.SPEECH)
STEPS = 20
"""The grid's weights are multiples of 1/20."""
N_BEST = 5
Weights = Mapping[Modality, float]


@dataclass(frozen=True)
class Mix:
    """Written and spoken questions together."""

    name: str
    questions: tuple[Question, ...]
    media: Media | None
    """Only assets of this medium are asked for; None: all."""


def mixes(truths: Truths, texts: Mapping[str, str]) -> tuple[Mix, ...]:
    """Return the questions that films answer, asked of films, and all of them, asked of everything."""
    films = {place.file for question in truths.moments for place in question.places}
    spoken = truths.said(texts, texts)
    in_films = [Question(q.asked, tuple(p for p in q.places if p.file in films)) for q in spoken]
    of_films = (*truths.moments, *(q for q in in_films if q.places), *truths.subtitles)
    both = (Mix("films", of_films, Media.VIDEO), Mix("everything", (*truths.moments, *spoken), None))
    return tuple(mix for mix in both if truths.moments and len(mix.questions) > len(truths.moments))


def figures(asking: Asking, mix: Mix) -> Iterator[Figure]:
    """Yield how scenes find what is shown and said, against each modality alone."""
    name = f"scene among {mix.name}, written and spoken questions, recall@10"
    narrowed = {"media": str(mix.media)} if mix.media else {}

    def found(modality: str, told: str = "") -> float:
        return share_found(asking.ranks(told, mix.questions, is_moment, K, modality=modality, **narrowed), K)

    alone = {modality: found(modality) for modality in FUSED}
    scene = found("scene", name)
    best = max(alone, key=lambda modality: alone[modality])
    told = ", ".join(f"{modality} {share:.3g}" for modality, share in alone.items())
    quality = f"n={len(mix.questions)}; alone: {told}; holds: more than the best of them"
    contender = f"best single modality: {best}"
    yield Figure(name, scene, "share", alone[best], scene > alone[best], contender, quality)


@dataclass(frozen=True)
class Scenes:
    """The scenes of an archive as blocks, and the similarity of each block to each question's."""

    places: tuple[Place, ...]
    similarities: Mapping[Modality, NDArray[np.float64]]
    """float64 [questions, scenes]; 0 where a scene has no such block."""
    present: Mapping[Modality, NDArray[np.bool_]]
    """bool [scenes]."""

    def scores(self, weights: Weights) -> NDArray[np.float64]:
        """Return the inner products of questions and scenes under other weights, float64 [questions, scenes].

        They are what `encoders.fusion.concatenate` gives, up to a factor for each question, which ranks nothing.
        """
        weight_there = sum(weights[m] * self.present[m] for m in FUSED)
        products = sum(weights[m] * self.similarities[m] for m in FUSED)
        return np.asarray(products / np.sqrt(np.maximum(weight_there, 1e-12)))


def scenes_of(archive: Archive, questions: Sequence[Question], media: Media | None = None) -> Scenes:
    """Return the scenes of an archive's assets, of one medium or of all, and how alike each is to each question."""
    models = Models.of(archive.settings.profile)
    equal = dict.fromkeys(FUSED, 1 / len(FUSED))
    places, vectors = [], []
    for file, moments in _by_file(archive, media):
        for scene in fuse_scenes(moments, models, equal):
            places.append(Place(file, scene.start_seconds, scene.stop_seconds))
            vectors.append(scene.vector)
    asked = Questioner(models, equal).words([question.asked for question in questions])
    similarities, present, first = {}, {}, 0
    for modality, (space, dim) in models.blocks().items():
        blocks = np.stack([unit(vector[first : first + dim]) for vector in vectors])
        first += dim
        present[modality] = np.abs(blocks).max(axis=1) > 0
        enters = space in asked
        similarities[modality] = np.asarray(
            asked[space] @ blocks.T if enters else np.zeros((len(questions), len(blocks)))
        )
    return Scenes(tuple(places), similarities, present)


def grid(scenes: Scenes, questions: Sequence[Question]) -> dict[tuple[float, ...], float]:
    """Return recall@10 for every combination of weights (in the order of `FUSED`) that sum to 1."""
    right = np.array([[_is_there(scene, question) for scene in scenes.places] for question in questions])
    tried = {}
    for visual in range(STEPS + 1):
        for audio in range(STEPS + 1 - visual):
            weights = tuple(part / STEPS for part in (visual, audio, STEPS - visual - audio))
            tried[weights] = recall(scenes.scores(dict(zip(FUSED, weights, strict=True))), right)
    return tried


def recall(scores: NDArray[np.float64], right: NDArray[np.bool_], k: int = K) -> float:
    """Return which share of the rows has a right column among its k highest scores."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.take_along_axis(right, best, axis=1).any(axis=1).mean())


def grid_figures(archive: Archive, mixes: Sequence[Mix]) -> Iterator[Figure]:
    """Yield the weights that find most in the mean of all mixes."""
    found = [grid(scenes_of(archive, mix.questions, mix.media), mix.questions) for mix in mixes]
    mean = {weights: sum(each[weights] for each in found) / len(found) for weights in found[0]}
    for weights in sorted(mean, key=lambda w: -mean[w])[:N_BEST]:
        told = ", ".join(f"{modality} {weight:g}" for modality, weight in zip(FUSED, weights, strict=True))
        each = ", ".join(f"{mix.name} {share[weights]:.3g}" for mix, share in zip(mixes, found, strict=True))
        yield Figure(f"fusion grid: {told}", mean[weights], "share", quality=f"mean of {each}; {len(mean)} tried")


def _is_there(scene: Place, question: Question) -> bool:
    return any(
        shared > 0
        and shared >= SHARED * min(scene.stop_seconds - scene.start_seconds, p.stop_seconds - p.start_seconds)
        for p in question.places
        if p.file == scene.file
        for shared in [min(scene.stop_seconds, p.stop_seconds) - max(scene.start_seconds, p.start_seconds)]
    )


def _by_file(archive: Archive, media: Media | None) -> Iterator[tuple[str, list[Moment]]]:
    tables = Tables(archive.tables)
    for row in tables.assets():
        if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL) and row.facts and media in (row.facts.media, None):
            moments = stored_moments(tables, archive.thumbs, row.asset_id, frozenset(FUSED))
            yield row.locations[0].uri, list(moments)

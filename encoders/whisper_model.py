"""Whisper run by CTranslate2, through faster-whisper: on the processor in 8-bit integers, on a GPU in 16-bit floats."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from encoders import processors
from encoders.listening import Window
from encoders.transcriber import Skills, Written
from encoders.utterances import Word
from encoders.voice import RATE_HZ

LONGEST_TOKENS = 224
"""Half of what the decoder has positions for, as Whisper's own."""
WINDOWS_PER_CALL = {"cpu": 4, "cuda": 24}
_CUBLAS = "libcublas.so.12"


class CTranslate2Whisper:
    """A Whisper model in CTranslate2's format; see `Transcriber`. Loads the weights."""

    def __init__(self, folder: Callable[[], Path], skills: Skills, threads: int = 0, device: str = "") -> None:
        from faster_whisper import WhisperModel
        from faster_whisper.feature_extractor import FeatureExtractor

        device = device or ("cuda" if sees_gpu() else "cpu")
        self.windows_per_call = WINDOWS_PER_CALL[device]
        self._skills = skills
        self._model = WhisperModel(
            str(folder()),
            device=device,
            compute_type="int8" if device == "cpu" else "float16",
            cpu_threads=threads or processors.usable(),
            local_files_only=True,
        )
        self._extract = self._model.feature_extractor
        if len(self._extract.mel_filters) != self._model.model.n_mels:  # the folder has no preprocessor_config.json
            self._extract = FeatureExtractor(feature_size=self._model.model.n_mels)

    def languages(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
        """See `Transcriber`. One by one, without silence behind them."""
        found = (self._model.model.detect_language(self.encode([sound]))[0] for sound in sounds)
        return [{token.strip("<|>"): probability for token, probability in each} for each in found]

    def encode(self, sounds: Sequence[NDArray[np.float32]], seconds: float = 0.0) -> Any:
        """Encode sounds of equal length, or of any length filled up to `seconds`."""
        filled = [np.pad(sound, (0, max(0, round(seconds * RATE_HZ) - len(sound)))) for sound in sounds]
        return self._model.encode(np.stack([self._extract(sound)[:, :-1] for sound in filled]))

    def write(self, encoding: Any, windows: Sequence[Window], task: str, *, beam_size: int = 1) -> list[Written]:
        """See `Transcriber`."""
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer(windows[0].language, task)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        results = self._model.model.generate(
            encoding,
            [prompt] * len(windows),
            beam_size=beam_size,
            max_length=LONGEST_TOKENS,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )
        written = []
        for result in results:
            tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
            text = tokenizer.decode(tokens).strip()
            written.append(Written(tokens, text, result.scores[0], result.no_speech_prob))
        return written

    def timed(self, encoding: Any, windows: Sequence[Window], tokens: Sequence[Sequence[int]]) -> list[Word]:
        """See `Transcriber`."""
        tokenizer = self._tokenizer(windows[0].language, "transcribe")
        frames = [round((window.stop - window.start) * self._model.frames_per_second) for window in windows]
        found = self._model.find_alignment(tokenizer, list(tokens), encoding, frames)
        return [
            Word(
                word["word"],
                window.start + float(word["start"]),
                window.start + float(word["end"]),
                float(word["probability"]),
                window.language,
            )
            for window, words in zip(windows, found, strict=True)
            for word in words
        ]

    def _tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._model.hf_tokenizer, multilingual=self._skills.languages, task=task, language=language)


def sees_gpu() -> bool:
    """Tell whether CTranslate2 can compute on a GPU: it sees one, and the CUDA 12 that it was built for is there.

    Without the second it fails in the middle of the first sound; torch may have come with another CUDA.
    """
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        return False
    try:
        ctypes.CDLL(_CUBLAS)
    except OSError:
        return os.name != "posix"  # elsewhere it has another name, and the wheel brings it
    return True


def skills(weights: Path) -> Skills:
    """Return what the model in a CTranslate2 file was trained for, from the names and shapes in it.

    Raises:
        ValueError: it is no Whisper model in this format.
    """
    try:
        with weights.open("rb") as file:
            shapes = dict(_shapes(file))
        n_tokens = shapes["decoder/embeddings/weight"][0]
    except (struct.error, KeyError, IndexError, UnicodeDecodeError) as exc:
        raise ValueError(
            f"{weights} is no Whisper model of CTranslate2; convert one with ct2-transformers-converter."
        ) from exc
    encoder, decoder = (
        len({name.split("/")[1] for name in shapes if name.startswith(f"{side}/layer_") and name.count("/") > 1})
        for side in ("encoder", "decoder")
    )
    return Skills.of(n_tokens, encoder, decoder)


def _shapes(file: BinaryIO) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of each variable of a CTranslate2 file; the numbers are jumped over."""
    numbers = partial(_numbers, file)
    numbers("I")  # version of the format
    _name(file)
    _, n_variables = numbers("II")
    found = []
    for _ in range(min(n_variables, 100_000)):
        name, (rank,) = _name(file), numbers("B")
        shape = numbers(f"{rank}I")
        _, n_bytes = numbers("BI")
        file.seek(n_bytes, os.SEEK_CUR)
        found.append((name, shape))
    return found


def _numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = "<" + layout  # without gaps between them
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _name(file: BinaryIO) -> str:
    (length,) = _numbers(file, "H")
    return file.read(length).rstrip(b"\0").decode()

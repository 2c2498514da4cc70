"""Speech into sentences: Whisper of any size, and the embedded base, multilingual, with weights from two packages.

First a detector says where there is a voice at all; then each stretch's language is heard, so that a recording may
change it; then what was said is written down, and put into English where it was not. What looks invented is left out
and counted in `rejected`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import voice, weights
from encoders.joined import joined_model
from encoders.listening import CONTEXT_SECONDS, WINDOW_SECONDS, Window, batches, likeliest_path, main_language, packed
from encoders.models import Model, find
from encoders.packages import MissingPackageError, require
from encoders.spec import Utterance
from encoders.transcriber import Skills, Transcriber, Written
from encoders.utterances import Word, objection, sentences, with_translations
from encoders.whisper_model import CTranslate2Whisper, skills

MODEL_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
"""Of the embedded model.bin, once its parts are joined."""
THOROUGH_SECONDS = 30.0
"""The context that Whisper was made for."""
_SURE_WORDS = 0.35
_COMMON = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "zh")
_COMMON_BONUS = 1.5
"""Nats for the languages that most of the training was in: of a few seconds, the others are mostly guessed wrongly."""
SETTINGS = f"window={WINDOW_SECONDS} context={CONTEXT_SECONDS} beam=1,5 int8 languages=2"


@dataclass(frozen=True)
class _Heard:
    """What the model wrote down for a window; nothing, if it is not believed, and then why."""

    tokens: list[int]
    text: str
    objection: str


class WhisperReader:
    """Speech into sentences, in any of 99 languages if the model knows them; the same text for the same sound.

    Weights load on first use.
    """

    rate_hz = voice.RATE_HZ

    def __init__(self, name: str, skills: Skills, load_model: Callable[[], Transcriber]) -> None:
        self.name = name + skills.suffix
        self.rejected: Counter[str] = Counter()
        """How much was not believed, by reason: stretches, windows or sentences."""
        self._skills, self._load_model = skills, load_model

    @cached_property
    def _model(self) -> Transcriber:
        return self._load_model()

    def read(self, samples: NDArray[np.float32]) -> list[Utterance]:
        """Return what is said in mono sound, float32 [T], in [-1, 1], at `rate_hz`; best some minutes at a time.

        Sentences in the order of time. One that is not in English is followed by its translation, over the same
        interval, with track "translation:en", if the model translates.
        """
        probabilities = voice.voice_probabilities(samples)
        stretches = [s for s in voice.find_speech(probabilities) if self._believes(s)]
        windows = packed(stretches, self._languages(samples, stretches), len(samples) / self.rate_hz)
        words: list[Word] = []
        english: list[tuple[Window, str]] = []
        doubtful: list[tuple[Window, str]] = []
        if windows:  # where nobody speaks the weights need not load
            for batch in batches(windows, self._model.windows_per_call):
                doubtful += self._listen(samples, batch, words, english)
        for window, _ in doubtful:
            self._listen_again(samples, window, main_language(windows), words, english)
        words.sort(key=lambda word: word.start_seconds)
        said = [utterance for utterance, sure in sentences(words, probabilities) if self._is_sure(sure)]
        return with_translations(said, english)

    def _listen(
        self,
        samples: NDArray[np.float32],
        windows: Sequence[Window],
        words: list[Word],
        english: list[tuple[Window, str]],
        *,
        thoroughly: bool = False,
    ) -> list[tuple[Window, str]]:
        """Add to `words`, and to `english` what is in another language; return the windows not believed, and why.

        Args:
            samples: float32 [T], all of the sound read.
            windows: of one language.
            words: of windows before.
            english: window and translation.
            thoroughly: with the whole context that the model was made for, and several hypotheses.
        """
        sounds = [samples[int(w.start * self.rate_hz) : int(w.stop * self.rate_hz)] for w in windows]
        encoding = self._model.encode(sounds, CONTEXT_SECONDS)
        if thoroughly:
            written = self._model.write(
                self._model.encode(sounds, THOROUGH_SECONDS), windows, "transcribe", beam_size=5
            )
        else:
            written = self._model.write(encoding, windows, "transcribe")
        heard = [_judged(*each) for each in zip(windows, written, strict=True)]
        words += self._model.timed(encoding, windows, [h.tokens for h in heard])
        if self._skills.translation and windows[0].language != "en":
            translations = map(_judged, windows, self._model.write(encoding, windows, "translate"))
            english += [
                (w, t.text) for w, h, t in zip(windows, heard, translations, strict=True) if h.tokens and t.tokens
            ]
        return [(window, h.objection) for window, h in zip(windows, heard, strict=True) if h.objection]

    def _listen_again(
        self,
        samples: NDArray[np.float32],
        window: Window,
        main_language: str,
        words: list[Word],
        english: list[tuple[Window, str]],
    ) -> None:
        """Listen once more, thoroughly, to what is not believed; then as if it were in the language of the rest.

        Most of what makes no sense in a language that was heard for a few seconds alone is in the other.
        """
        reason = ""
        for language in dict.fromkeys((window.language, main_language)):
            doubtful = self._listen(samples, [replace(window, language=language)], words, english, thoroughly=True)
            if not doubtful:
                return
            reason = reason or doubtful[0][1]
        self.rejected[reason] += 1

    def _believes(self, stretch: voice.Stretch) -> bool:
        if stretch.peak < voice.CERTAIN:
            self.rejected["uncertain voice"] += 1
        return stretch.peak >= voice.CERTAIN

    def _is_sure(self, probability: float) -> bool:
        if probability < _SURE_WORDS:
            self.rejected["uncertain words"] += 1
        return probability >= _SURE_WORDS

    def _languages(self, samples: NDArray[np.float32], stretches: Sequence[voice.Stretch]) -> list[str]:
        """Return the likeliest sequence of languages, where each switch costs something."""
        if not stretches or not self._skills.languages:
            return ["en"] * len(stretches)
        edges = [[round(seconds * self.rate_hz) for seconds in stretch.seconds] for stretch in stretches]
        heard = self._model.languages([samples[start:stop] for start, stop in edges])
        names = sorted(heard[0])
        scores = np.log([[probabilities.get(name, 0.0) + 1e-3 for name in names] for probabilities in heard])
        scores += _COMMON_BONUS * np.isin(names, _COMMON)
        return [names[best] for best in likeliest_path(scores)]


def load(source: str = "", *, threads: int = 0, device: str = "") -> WhisperReader:
    """Return a Whisper model in CTranslate2's format; without a source the embedded base.

    Args:
        source: a folder with model.bin and tokenizer.json, or the name of a pulled model.
        threads: of the processor; 0: as many as this process may use.
        device: "cpu" (8-bit integers) or "cuda" (16-bit floats); empty: a GPU where CTranslate2 sees one.

    Raises:
        MissingPackageError: a package with the embedded weights is not installed, or the model lacks a file.
        MissingModelError: the model is not on this machine.
        ValueError: the model is no Whisper of CTranslate2.
    """
    if not source:
        require(weights.WHISPER_BASE_1, weights.WHISPER_BASE_2)
        fingerprint = weights.fingerprint(weights.WHISPER_BASE_1, weights.WHISPER_BASE_2, settings=SETTINGS)
        embedded = partial(CTranslate2Whisper, _joined_base, Skills(), threads, device)
        return WhisperReader(f"whisper-base-{fingerprint}", Skills(), embedded)
    model = find(source, "ctranslate2")
    has = skills(model.path / "model.bin")
    if not (model.path / "tokenizer.json").is_file():
        raise MissingPackageError(f"{model.path} has no tokenizer.json; copy it there from the model it was made of.")
    folder = partial(Path, model.path)
    return WhisperReader(reader_name(model, SETTINGS), has, partial(CTranslate2Whisper, folder, has, threads, device))


def reader_name(model: Model, settings: str) -> str:
    """Return what a reader with this model is called: its size, and a fingerprint of weights and settings."""
    size = re.sub(r"^.*?whisper[-_]", "", model.name.rpartition("/")[2].lower()) or "model"
    return f"whisper-{size}-{weights.fingerprint(settings=f'{model.fingerprint} {settings}')}"


def _joined_base() -> Path:
    return joined_model((weights.WHISPER_BASE_1, weights.WHISPER_BASE_2), MODEL_SHA256)


def _judged(window: Window, written: Written) -> _Heard:
    doubt = objection(
        written.text,
        log_probability=written.log_probability,
        silence_probability=written.silence_probability,
        voiced_seconds=window.voiced_seconds,
    )
    return _Heard([], "", doubt) if doubt else _Heard(written.tokens, written.text, "")

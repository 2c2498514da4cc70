"""Speech into sentences: Whisper base, multilingual, run by faster-whisper on weights from two packages.

First a detector says where there is a voice at all; then each stretch's language is heard, so that a recording may
change it; then what was said is written down, and put into English where it was not. What looks invented is left out
and counted in `rejected`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import voice, weights
from encoders.joined import joined_model
from encoders.listening import CONTEXT_SECONDS, WINDOW_SECONDS, Window, batches, likeliest_path, main_language, packed
from encoders.packages import require
from encoders.spec import Utterance
from encoders.utterances import Word, objection, sentences, with_translations

MODEL_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
"""Of model.bin, once its parts are joined."""
_SURE_WORDS = 0.35
_COMMON = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "zh")
_COMMON_BONUS = 1.5
"""Nats for the languages that most of the training was in: of a few seconds, the others are mostly guessed wrongly."""
_SETTINGS = f"window={WINDOW_SECONDS} context={CONTEXT_SECONDS} beam=1,5 int8 languages=2"


@dataclass(frozen=True)
class _Heard:
    """What the model wrote down for a window; nothing, if it is not believed, and then why."""

    tokens: list[int]
    text: str
    objection: str


class WhisperReader:
    """Speech in any of 99 languages into sentences; gives the same text for the same sound every time.

    Weights load on first use.
    """

    rate_hz = voice.RATE_HZ

    def __init__(self, threads: int, device: str) -> None:
        fingerprint = weights.fingerprint(weights.WHISPER_BASE_1, weights.WHISPER_BASE_2, settings=_SETTINGS)
        self.name = f"whisper-base-{fingerprint}"
        self.rejected: Counter[str] = Counter()
        """How much was not believed, by reason: stretches, windows or sentences."""
        self._threads, self._device = threads, device

    @cached_property
    def _model(self) -> Any:
        from faster_whisper import WhisperModel

        return WhisperModel(
            str(joined_model((weights.WHISPER_BASE_1, weights.WHISPER_BASE_2), MODEL_SHA256)),
            device=self._device,
            compute_type="int8" if self._device == "cpu" else "float16",
            cpu_threads=self._threads or _usable_processors(),
            local_files_only=True,
        )

    def read(self, samples: NDArray[np.float32]) -> list[Utterance]:
        """Return what is said in mono sound, float32 [T], in [-1, 1], at `rate_hz`; best some minutes at a time.

        Sentences in the order of time. One that is not in English is followed by its translation, over the same
        interval, with track "translation:en".
        """
        probabilities = voice.voice_probabilities(samples)
        stretches = [s for s in voice.find_speech(probabilities) if self._believes(s)]
        windows = packed(stretches, self._languages(samples, stretches), len(samples) / self.rate_hz)
        words: list[Word] = []
        english: list[tuple[Window, str]] = []
        doubtful: list[tuple[Window, str]] = []
        for batch in batches(windows):
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
        encoding = self._encode(sounds, CONTEXT_SECONDS)
        if thoroughly:
            heard = self._write(self._encode(sounds, 30.0), windows, "transcribe", beam_size=5)
        else:
            heard = self._write(encoding, windows, "transcribe")
        words += self._timed(encoding, windows, heard)
        if windows[0].language != "en":
            translations = self._write(encoding, windows, "translate")
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
        if not stretches:
            return []
        heard: list[dict[str, float]] = []
        for stretch in stretches:
            start, stop = (round(seconds * self.rate_hz) for seconds in stretch.seconds)
            found = self._model.model.detect_language(self._encode([samples[start:stop]]))[0]
            heard.append({token.strip("<|>"): probability for token, probability in found})
        names = sorted(heard[0])
        scores = np.log([[probabilities.get(name, 0.0) + 1e-3 for name in names] for probabilities in heard])
        scores += _COMMON_BONUS * np.isin(names, _COMMON)
        return [names[best] for best in likeliest_path(scores)]

    def _encode(self, sounds: Sequence[NDArray[np.float32]], seconds: float = 0.0) -> Any:
        """Encode sounds of equal length, or of any length filled up to `seconds`."""
        extract = self._model.feature_extractor
        filled = [np.pad(sound, (0, max(0, round(seconds * self.rate_hz) - len(sound)))) for sound in sounds]
        return self._model.encode(np.stack([extract(sound)[:, :-1] for sound in filled]))

    def _tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._model.hf_tokenizer, multilingual=True, task=task, language=language)

    def _write(self, encoding: Any, windows: Sequence[Window], task: str, beam_size: int = 1) -> list[_Heard]:
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer(windows[0].language, task)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        results = self._model.model.generate(
            encoding,
            [prompt] * len(windows),
            beam_size=beam_size,
            max_length=224,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [_judged(tokenizer, window, result) for window, result in zip(windows, results, strict=True)]

    def _timed(self, encoding: Any, windows: Sequence[Window], heard: Sequence[_Heard]) -> list[Word]:
        """Find out when each word was said."""
        tokenizer = self._tokenizer(windows[0].language, "transcribe")
        frames = [round((window.stop - window.start) * self._model.frames_per_second) for window in windows]
        found = self._model.find_alignment(tokenizer, [h.tokens for h in heard], encoding, frames)
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


def load(threads: int = 0, device: str = "cpu") -> WhisperReader:
    """Return Whisper base.

    Args:
        threads: of the processor; 0: as many as this process may use.
        device: "cpu" (8-bit integers) or "cuda" (16-bit floats).

    Raises:
        MissingPackageError: a package with weights is not installed.
    """
    require(weights.WHISPER_BASE_1, weights.WHISPER_BASE_2)
    return WhisperReader(threads, device)


def _usable_processors() -> int:
    if threads := os.environ.get("OMP_NUM_THREADS", ""):
        return max(1, int(threads)) if threads.isdecimal() else 1  # several encoders share the machine
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _judged(tokenizer: Any, window: Window, result: Any) -> _Heard:
    tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
    text = tokenizer.decode(tokens).strip()
    doubt = objection(
        text,
        log_probability=result.scores[0],
        silence_probability=result.no_speech_prob,
        voiced_seconds=window.voiced_seconds,
    )
    return _Heard([], "", doubt) if doubt else _Heard(tokens, text, "")

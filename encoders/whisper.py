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
from encoders.packages import require
from encoders.spec import Utterance
from encoders.utterances import Word, objection, sentences, split_sentences

MODEL_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
"""Of model.bin, once its parts are joined."""
WINDOW_SECONDS = 13.0
CONTEXT_SECONDS = 15.0
"""Windows of up to 13 s, filled with silence to 15 s. The model was made for 30 s, but so it errs half as often: in 5.3%
of the words of 528 s of English prompts, not 10.6%, since it skips sentences of long windows; and it is faster."""
_GAP_SECONDS = 2.0
_MARGIN_SECONDS = 0.2
_SURE_WORDS = 0.35
_SWITCH_COST = 2.0  # nats; a language that is only guessed, in a second or two, does not interrupt another
_WINDOWS_PER_CALL = 4
_SETTINGS = f"window={WINDOW_SECONDS} context={CONTEXT_SECONDS} beam=1,5 int8"


@dataclass(frozen=True)
class _Window:
    """Neighbouring stretches of one language, in seconds of the sound read."""

    start: float
    stop: float
    language: str
    voiced_seconds: float


@dataclass(frozen=True)
class _Heard:
    """What the model wrote down for a window."""

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
            cpu_threads=self._threads or len(os.sched_getaffinity(0)),
            local_files_only=True,
        )

    def read(self, samples: NDArray[np.float32]) -> list[Utterance]:
        """Return what is said in mono sound, float32 [T], in [-1, 1], at `rate_hz`; best some minutes at a time.

        Sentences in the order of time. One that is not in English is followed by its translation, over the same
        interval, with track "translation:en".
        """
        probabilities = voice.voice_probabilities(samples)
        stretches = [s for s in voice.find_speech(probabilities) if self._believes(s)]
        windows = _packed(stretches, self._languages(samples, stretches), len(samples) / self.rate_hz)
        words: list[Word] = []
        translated: list[tuple[_Window, str]] = []
        for batch in _batches(windows):
            encoding = self._encode([self._cut(samples, window) for window in batch], CONTEXT_SECONDS)
            heard = self._write(encoding, batch, "transcribe")
            heard = [self._again(samples, window, h) for window, h in zip(batch, heard, strict=True)]
            words += self._timed(encoding, batch, heard)
            if batch[0].language != "en":
                english = self._write(encoding, batch, "translate")
                translated += [(w, h.text) for w, h in zip(batch, english, strict=True) if self._keeps(h)]
        words.sort(key=lambda word: word.start_seconds)
        said = [utterance for utterance, sure in sentences(words, probabilities) if self._is_sure(sure)]
        return _with_translations(said, translated)

    def _believes(self, stretch: voice.Stretch) -> bool:
        if stretch.peak < voice.CERTAIN:
            self.rejected["uncertain voice"] += 1
        return stretch.peak >= voice.CERTAIN

    def _keeps(self, heard: _Heard) -> bool:
        if heard.objection:
            self.rejected[heard.objection] += 1
        return not heard.objection

    def _is_sure(self, probability: float) -> bool:
        if probability < _SURE_WORDS:
            self.rejected["uncertain words"] += 1
        return probability >= _SURE_WORDS

    def _cut(self, samples: NDArray[np.float32], window: _Window) -> NDArray[np.float32]:
        return samples[int(window.start * self.rate_hz) : int(window.stop * self.rate_hz)]

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
        return [names[best] for best in _likeliest_path(scores, _SWITCH_COST)]

    def _encode(self, sounds: Sequence[NDArray[np.float32]], seconds: float = 0.0) -> Any:
        """Encode sounds of equal length, or of any length filled up to `seconds`."""
        extract = self._model.feature_extractor
        filled = [np.pad(sound, (0, max(0, round(seconds * self.rate_hz) - len(sound)))) for sound in sounds]
        return self._model.encode(np.stack([extract(sound)[:, :-1] for sound in filled]))

    def _tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._model.hf_tokenizer, multilingual=True, task=task, language=language)

    def _write(self, encoding: Any, windows: Sequence[_Window], task: str, beam_size: int = 1) -> list[_Heard]:
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

    def _again(self, samples: NDArray[np.float32], window: _Window, heard: _Heard) -> _Heard:
        """Listen once more to what was not believed, more thoroughly: the whole context, several hypotheses."""
        if heard.objection and heard.objection != "no words":
            encoding = self._encode([self._cut(samples, window)], 30.0)
            heard = self._write(encoding, [window], "transcribe", beam_size=5)[0]
        return heard if self._keeps(heard) else _Heard([], "", heard.objection)

    def _timed(self, encoding: Any, windows: Sequence[_Window], heard: Sequence[_Heard]) -> list[Word]:
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


def _judged(tokenizer: Any, window: _Window, result: Any) -> _Heard:
    tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
    text = tokenizer.decode(tokens).strip()
    doubt = objection(
        text,
        log_probability=result.scores[0],
        silence_probability=result.no_speech_prob,
        voiced_seconds=window.voiced_seconds,
    )
    return _Heard(tokens, text, doubt)


def _packed(stretches: Sequence[voice.Stretch], languages: Sequence[str], duration: float) -> list[_Window]:
    """Join neighbouring stretches of a language into windows of up to WINDOW_SECONDS."""
    windows: list[_Window] = []
    for stretch, language in zip(stretches, languages, strict=True):
        start, stop = stretch.seconds
        voiced, start, stop = stop - start, max(0.0, start - _MARGIN_SECONDS), min(duration, stop + _MARGIN_SECONDS)
        if windows and windows[-1].language == language:
            last = windows[-1]
            if stop - last.start <= WINDOW_SECONDS and start - last.stop <= _GAP_SECONDS:
                windows[-1] = _Window(last.start, stop, language, last.voiced_seconds + voiced)
                continue
        windows.append(_Window(max(start, windows[-1].stop) if windows else start, stop, language, voiced))
    return windows


def _batches(windows: Sequence[_Window]) -> list[list[_Window]]:
    """Group windows by language, a few at a time: a batch has one language, since its words are timed together."""
    batches: list[list[_Window]] = []
    for language in sorted({window.language for window in windows}):
        same = [window for window in windows if window.language == language]
        batches += [same[i : i + _WINDOWS_PER_CALL] for i in range(0, len(same), _WINDOWS_PER_CALL)]
    return batches


def _likeliest_path(scores: NDArray[np.float64], switch_cost: float) -> list[int]:
    """Return for each of N steps one of K states, so that scores [N, K] minus the cost of switches are greatest."""
    total, came_from = scores[0], []
    for step in scores[1:]:
        best = int(total.argmax())
        stays = total >= total[best] - switch_cost
        came_from.append(np.where(stays, np.arange(len(total)), best))
        total = np.where(stays, total, total[best] - switch_cost) + step
    path = [int(total.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]


def _with_translations(said: Sequence[Utterance], translated: Sequence[tuple[_Window, str]]) -> list[Utterance]:
    """Put each window's translation behind its sentences: one to one where their number agrees, else in one piece."""
    english: list[Utterance] = []
    for window, text in translated:
        within = [u for u in said if window.start <= (u.start_seconds + u.stop_seconds) / 2 < window.stop]
        parts = split_sentences(text)
        if within and len(parts) != len(within):
            parts, within = [text], [replace(within[0], stop_seconds=within[-1].stop_seconds)]
        english += [
            replace(utterance, text=part, language="en", track="translation:en")
            for utterance, part in zip(within, parts, strict=False)
        ]
    return sorted([*said, *english], key=lambda u: (u.start_seconds, u.track != "speech"))

"""Recognised words into sentences with times, and the reasons not to believe them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoders.listening import Window
from encoders.spec import Utterance
from encoders.voice import ENDS_BELOW, FRAME_SECONDS

PAUSE_SECONDS = 0.6
"""A silence as long as this ends a sentence, whatever the punctuation."""
LONGEST_SECONDS = 20.0
_ENDS = re.compile(r"[.?!。？！…]+[\"'”’»)\]]*$")
_GOES_ON = re.compile(r"(?:^|\W)(?:mr|mrs|ms|dr|st|no|vs|etc|e\.g|i\.e|\d+|[a-z])\.$", re.IGNORECASE)
_LOOP = re.compile(r"\b(.{2,80}?)(?:\W+\1\b){3,}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Word:
    """A word with the blanks and marks around it, in the half-open interval [start_seconds, stop_seconds)."""

    text: str
    start_seconds: float
    stop_seconds: float
    probability: float
    language: str


def sentences(words: Sequence[Word], voice: NDArray[np.float32]) -> Iterator[tuple[Utterance, float]]:
    """Join words into sentences; yield each with the mean probability of its words.

    A sentence ends at a full stop, question or exclamation mark, at a pause, and where the language changes.

    Args:
        words: in the order of time.
        voice: float32 [frames], of `voice_probabilities`; starts and stops are drawn in to where a voice is.
    """
    begun: list[Word] = []
    for number, word in enumerate(words):
        begun.append(word)
        after = words[number + 1] if number + 1 < len(words) else None
        if after is None or _ends_between(begun, after, voice):
            text = "".join(part.text for part in begun).strip()
            if re.search(r"\w", text):
                start, stop = _drawn_in(begun[0].start_seconds, begun[-1].stop_seconds, voice)
                mean = float(np.mean([part.probability for part in begun]))
                yield Utterance(round(start, 2), round(stop, 2), text, word.language), mean
            begun = []


def _split(text: str) -> list[str]:
    """Split a text behind its full stops, question and exclamation marks."""
    parts: list[str] = []
    for piece in text.split():
        if parts and not (_ENDS.search(parts[-1]) and not _GOES_ON.search(parts[-1])):
            parts[-1] += " " + piece
        else:
            parts.append(piece)
    return parts


def with_translations(said: Sequence[Utterance], translated: Sequence[tuple[Window, str]]) -> list[Utterance]:
    """Put each window's translation behind its sentences: one to one where their number agrees, else in one piece."""
    english: list[Utterance] = []
    for window, text in translated:
        within = [u for u in said if window.start <= (u.start_seconds + u.stop_seconds) / 2 < window.stop]
        parts = _split(text)
        if within and len(parts) != len(within):
            parts, within = [text], [replace(within[0], stop_seconds=within[-1].stop_seconds)]
        english += [
            replace(utterance, text=part, language="en", track="translation:en")
            for utterance, part in zip(within, parts, strict=False)
        ]
    return sorted([*said, *english], key=lambda u: (u.start_seconds, u.track != "speech"))


def objection(text: str, *, log_probability: float, silence_probability: float, voiced_seconds: float) -> str:
    """Say why a text is probably invented, in a word or two; "" if nothing speaks against it.

    Speech models invent text over noise, and when they do, it shows: in unlikely words, in loops, and in more words
    than anybody says in that time. The bounds are Whisper's own where it has one.

    Args:
        text: what is said to be heard.
        log_probability: the mean over its tokens.
        silence_probability: the model's, that nothing is said at all.
        voiced_seconds: how long a voice was detected.
    """
    if not re.search(r"\w", text):
        return "no words"
    if log_probability < -1.0:
        return "unlikely"
    if silence_probability > 0.6 and log_probability < -0.7:
        return "silence"
    if is_loop(text):
        return "repetition"
    if len(text) > 35 * voiced_seconds + 20:  # people say about 15 characters a second, the fastest 25
        return "too fast"
    return ""


def is_loop(text: str) -> bool:
    """Tell whether a text says the same again and again, as models do that have lost the thread.

    By its words, or by how well it can be compressed; the bound is Whisper's own.
    """
    return bool(_LOOP.search(text)) or (len(text) > 40 and len(text.encode()) / len(zlib.compress(text.encode())) > 2.4)


def _ends_between(begun: Sequence[Word], after: Word, voice: NDArray[np.float32]) -> bool:
    last = begun[-1]
    if after.language != last.language or _longest_silence(last, after, voice) >= PAUSE_SECONDS:
        return True
    if after.stop_seconds - begun[0].start_seconds > LONGEST_SECONDS:
        return True
    text, joined = last.text.strip(), after.text[:1].isascii() and after.text[:1].isalnum()  # as in 3.5
    return bool(_ENDS.search(text)) and not _GOES_ON.search(text) and not joined


def _longest_silence(before: Word, after: Word, voice: NDArray[np.float32]) -> float:
    """Return how many seconds between two words no voice is heard.

    Looked for from the first's start to the second's end: the model's words reach into the pause between them.
    """
    first, last = int(before.start_seconds / FRAME_SECONDS), int(np.ceil(after.stop_seconds / FRAME_SECONDS))
    heard = np.flatnonzero(voice[first:last] >= ENDS_BELOW)
    return float(np.diff(heard).max() - 1) * FRAME_SECONDS if len(heard) > 1 else 0.0


def _drawn_in(start: float, stop: float, voice: NDArray[np.float32]) -> tuple[float, float]:
    """Leave away silence at both ends of an interval: the model's first and last words reach into it."""
    first = int(start / FRAME_SECONDS)
    heard = np.flatnonzero(voice[first : int(np.ceil(stop / FRAME_SECONDS))] >= ENDS_BELOW)
    if len(heard):
        start = max(start, float(first + heard[0]) * FRAME_SECONDS)
        stop = min(stop, float(first + heard[-1] + 1) * FRAME_SECONDS)
    return start, max(stop, start + FRAME_SECONDS)  # a word may have no length at all

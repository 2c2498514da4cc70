"""Passages: two or three sentences that were said in one breath, as one.

What people remember of a speech is often longer than a sentence, and a sentence alone often does not say what it is
about. So neighbouring sentences are searchable together too, beside each alone. On 80 prompts asked for verbatim, the
first hit began within 2 s of the prompt for 0.83 of them with sentences alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from encoders.spec import Utterance

LONGEST_GAP_SECONDS = 0.55
"""Less than the pause that ends a topic, more than the one that ends a sentence."""
MOST_SENTENCES = 3
LONGEST_SECONDS = 20.0
TRACK = "passage:"
"""What the track of a passage begins with, before the track of its sentences."""


def passages(sentences: Sequence[Utterance]) -> list[Utterance]:
    """Return all runs of two or three neighbouring sentences of one track and language, in the order of their start.

    Args:
        sentences: of one stretch of sound, in any order.
    """
    found = []
    for track, language in dict.fromkeys((s.track, s.language) for s in sentences):
        same = sorted(
            (s for s in sentences if (s.track, s.language) == (track, language)), key=lambda s: s.start_seconds
        )
        for first in range(len(same)):
            for last in range(first + 1, min(first + MOST_SENTENCES, len(same))):
                run = same[first : last + 1]
                if run[-1].start_seconds - run[-2].stop_seconds > LONGEST_GAP_SECONDS:
                    break
                if run[-1].stop_seconds - run[0].start_seconds > LONGEST_SECONDS:
                    break
                text = " ".join(s.text for s in run)
                found.append(Utterance(run[0].start_seconds, run[-1].stop_seconds, text, language, TRACK + track))
    return sorted(found, key=lambda passage: (passage.start_seconds, passage.stop_seconds))

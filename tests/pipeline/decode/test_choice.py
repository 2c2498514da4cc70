"""Which mode `auto` takes for a film, by how it is coded, and why."""

import numpy as np
import pytest

from pipeline.decode.sampling import ASKED, Outline, choose
from pipeline.media import Mode, Sampling


def outline(n_keys: int, n_packets: int, seconds: float, duration: float | None = None) -> Outline:
    keys = tuple(np.linspace(0, seconds, n_keys, endpoint=False))
    return Outline(n_packets, keys, seconds, seconds if duration is None else duration)


@pytest.mark.parametrize(
    ("film", "mode", "why"),
    [
        (outline(4, 375, 15), Mode.EXACT, "short: 15.0 s"),
        (outline(8, 500, 20), Mode.EXACT, "short"),
        (outline(8, 510, 20.4), Mode.SHOTS, "key frames lie"),
        (outline(3, 300, 12, duration=0), Mode.SHOTS, "4.0 s apart"),
        (outline(15_000, 15_000, 600), Mode.EXACT, "every frame is a key frame"),
        (outline(1, 15_000, 600), Mode.EXACT, "too few to enter at: 1 in 600 s"),
        (outline(0, 15_000, 600), Mode.EXACT, "too few"),
        (outline(10, 15_000, 600), Mode.EXACT, "too few"),
        (outline(1, 300, 12, duration=600), Mode.SHOTS, "12.0 s apart"),
        (outline(60, 900, 600), Mode.EXACT, "few frames: 1.5 a second"),
        (outline(60, 15_000, 600), Mode.SHOTS, "10.0 s apart"),
        (outline(300, 15_000, 600), Mode.SHOTS, "2.0 s apart"),
    ],
)
def test_auto_chooses_by_how_the_film_is_coded_and_says_why(film, mode, why):
    choice = choose(film, Sampling())
    assert choice.mode == mode
    assert why in choice.reason


def test_a_mode_that_was_asked_for_is_taken_and_what_makes_it_slow_is_said():
    for mode in (Mode.EXACT, Mode.SNAP, Mode.KEYFRAMES, Mode.SHOTS):
        choice = choose(outline(60, 15_000, 600), Sampling(mode=mode))
        assert (choice.mode, choice.reason) == (mode, ASKED)
    one = choose(outline(1, 15_000, 600), Sampling(mode=Mode.KEYFRAMES))
    assert one.mode == Mode.KEYFRAMES
    assert "one key frame only" in one.reason
    assert choose(outline(1, 1, 600), Sampling(mode=Mode.KEYFRAMES)).reason == ASKED

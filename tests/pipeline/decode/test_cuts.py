"""Cut detection on signatures of made-up films."""

import numpy as np
import pytest

from pipeline.decode.cuts import COLUMNS, ROWS, SAMPLES, CutDetector, Signature, change, signature

RATE = 25


def frame(seed: int, *, brightness: float = 1.0, shifted: int = 0, noise: float = 0.0) -> np.ndarray:
    """Return float [ROWS * SAMPLES, COLUMNS * SAMPLES]: a smooth random picture."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (5, 9))
    grid = np.kron(coarse, np.ones((8, 8)))[: ROWS * SAMPLES, : COLUMNS * SAMPLES]
    picture = np.roll(grid, shifted, axis=1)
    return picture * brightness + np.random.default_rng(shifted + 99).normal(0, noise + 1e-9, picture.shape)


def cuts_of(frames: list[np.ndarray], rate: float = RATE) -> list[float]:
    detector = CutDetector()
    found = [detector.push(n / rate, _signature(pixels)) for n, pixels in enumerate(frames)]
    return [round(at, 2) for at in [*found, detector.finish()] if at is not None]


def _signature(pixels: np.ndarray) -> Signature:
    return signature(np.clip(pixels, 0, 255).astype(np.uint8), np.full((2, ROWS, COLUMNS), 128, np.uint8))


def test_a_hard_cut_is_found_at_its_frame_at_any_rate():
    frames = [frame(n // 40) for n in range(160)]
    for rate in (5, 12, 25, 60):
        assert cuts_of(frames, rate) == [round(n / rate, 2) for n in (40, 80, 120)]


def test_noise_motion_and_light_are_no_cuts():
    assert cuts_of([frame(1, noise=12) for _ in range(100)]) == []
    assert cuts_of([frame(1, shifted=n // 4) for n in range(200)]) == []
    assert cuts_of([frame(1, brightness=1 + 0.3 * np.sin(n / 5)) for n in range(200)]) == []
    assert cuts_of([np.full((ROWS * SAMPLES, COLUMNS * SAMPLES), 16.0) + n % 2 for n in range(50)]) == []


def test_a_flash_is_no_cut_but_a_short_shot_is():
    white = np.full((ROWS * SAMPLES, COLUMNS * SAMPLES), 250.0)
    assert cuts_of([*[frame(1)] * 50, *[white] * 3, *[frame(1)] * 50]) == []
    assert cuts_of([*[frame(1)] * 50, *[frame(2)] * 10, *[frame(1)] * 50]) == [2.0, 2.4]


@pytest.mark.parametrize("length", [10, 25, 45])
def test_a_dissolve_is_one_cut_within_it(length):
    mixed = [frame(1) * (1 - a) + frame(2) * a for a in np.linspace(0, 1, length)]
    (cut,) = cuts_of([*[frame(1)] * 75, *mixed, *[frame(2)] * 75])
    assert 3.0 <= cut <= 3.0 + length / RATE + 0.3


def test_a_fade_through_black_is_a_boundary():
    out = [frame(1, brightness=b) for b in np.linspace(1, 0, 20)]
    into = [frame(2, brightness=b) for b in np.linspace(0, 1, 20)]
    found = cuts_of([*[frame(1)] * 75, *out, *[frame(1) * 0] * 15, *into, *[frame(2)] * 75])
    assert 1 <= len(found) <= 2
    assert all(3.0 <= cut <= 5.5 for cut in found)


def test_a_slow_pan_is_no_cut():
    wide = np.kron(np.random.default_rng(4).uniform(20, 235, (5, 60)), np.ones((8, 8)))[: ROWS * SAMPLES]
    smooth = np.stack([np.convolve(row, np.ones(9) / 9, mode="same") for row in wide])
    assert cuts_of([smooth[:, n // 3 : n // 3 + COLUMNS * SAMPLES] for n in range(600)]) == []


def test_a_cut_in_a_lively_shot_is_found_and_its_liveliness_is_not():
    rng = np.random.default_rng(8)

    def shaken(seed: int) -> np.ndarray:
        return frame(seed, shifted=int(rng.integers(-2, 3)))

    assert cuts_of([*[shaken(1) for _ in range(75)], *[shaken(2) for _ in range(75)]]) == [3.0]


def test_plain_grounds_are_told_apart():
    def plain(level: float) -> Signature:
        return _signature(np.full((ROWS * SAMPLES, COLUMNS * SAMPLES), level))

    assert change(plain(40), plain(42)) == 0
    assert change(plain(40), plain(200)) >= 1
    assert change(_signature(frame(1)), plain(128)) > 0.5


def test_frames_that_lie_apart_are_compared_with_the_one_before_alone():
    detector = CutDetector()
    pushed = [detector.push(4.0 * n, _signature(frame(seed)), dense=False) for n, seed in enumerate((1, 1, 2, 2, 1))]
    assert pushed == [None, None, 8.0, None, 16.0]
    assert detector.finish() is None


def test_what_went_on_before_a_gap_is_forgotten_after_it():
    detector, rng = CutDetector(), np.random.default_rng(8)
    for n in range(75):
        assert detector.push(n / RATE, _signature(frame(1, shifted=int(rng.integers(-2, 3))))) is None
    assert detector.push(10.0, _signature(frame(2)), dense=False) == 10.0
    assert detector.push(10.04, _signature(frame(2))) is None
    assert detector.push(20.0, _signature(frame(2)), dense=False) is None


def test_a_cut_that_was_not_certain_before_a_gap_is_after_it_unless_the_old_picture_is_back():
    for seed, cut in ((2, 1.04), (1, None)):
        detector = CutDetector()
        for at, shown in ((1.0, 1), (1.04, 2), (1.08, 2)):
            assert detector.push(at, _signature(frame(shown))) is None
        assert detector.finish() == 1.04
        assert detector.push(9.0, _signature(frame(seed)), dense=False) == cut
        assert detector.finish() is None


def test_a_frame_is_told_from_the_last_one_without_being_taken():
    detector = CutDetector()
    assert not detector.differs(_signature(frame(1)))
    detector.push(0.0, _signature(frame(1)))
    assert detector.differs(_signature(frame(2)))
    assert not detector.differs(_signature(frame(1, noise=5)))
    assert detector.push(0.04, _signature(frame(1))) is None

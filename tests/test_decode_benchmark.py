"""The benchmark of decoding, on films so small that it takes seconds: its films, its gates, its arithmetic."""

from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from tests.benchmarks import decode_costs, frame_gates, races
from tests.benchmarks.contenders import Took
from tests.benchmarks.decode_media import FILMS, LONG, make
from tests.benchmarks.figures import interval_of_ratio
from tests.benchmarks.processes import PROC

TINY = replace(LONG, name="tiny", file="tiny.mp4", size=(320, 180), loop_seconds=10.0, repeats=2, grain=2.0)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    make([TINY], folder)
    return folder


def test_a_film_is_as_long_as_it_says_and_has_key_frames_where_it_says(media):
    assert frame_gates.key_times(media / TINY.file) == [0.0, 10.0]
    with av.open(str(media / TINY.file)) as container:
        times = sorted(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.pts is not None)
    assert len(times) == 20 * 25
    assert float(times[-1] - times[0]) == pytest.approx(20 - 1 / 25)


def test_a_film_is_cut_where_it_says(media):
    with av.open(str(media / TINY.file)) as container:
        frames = [(frame.time, frame.to_ndarray(format="gray").astype(int)) for frame in container.decode(video=0)]
    steps = {round(at, 2): np.abs(b - a).mean() for (_, a), (at, b) in pairwise(frames)}
    largest = sorted(sorted(steps, key=lambda at: -steps[at])[: len(TINY.cuts_seconds())])
    assert largest == pytest.approx(TINY.cuts_seconds(), abs=0.011)


@pytest.mark.parametrize("film", FILMS, ids=lambda film: film.file)
def test_cuts_keep_away_from_fixed_key_frames(film):
    cuts = film.cuts_seconds()
    assert cuts == sorted(cuts)
    assert min(np.diff(cuts)) > 1
    assert all(abs(cut - 2 * round(cut / 2)) >= 0.2 for cut in cuts)


def test_figures_of_a_tiny_film(media, tmp_path):
    floors = races.Floors(keyframes=0.0, keyframes_naive=0.0, auto_naive=1e9)
    without = frozenset({races.TORCHCODEC})  # importing it takes longer than all this
    found = {f.name: f for f in races.figures(TINY, media, floors, 1, tmp_path, without)}
    speed = found["tiny: ours auto over naive PyAV"]
    assert speed.holds is False  # nothing is that fast
    assert 0 < speed.value < 1e9
    assert found["tiny: naive PyAV"].quality.startswith("20 frames")
    assert 0 <= found["tiny: cuts found by ours auto, recall"].value <= 1
    if "tiny: ffmpeg fps=1,scale" in found:
        assert found["tiny: ours exact over ffmpeg fps=1,scale"].holds is None
    assert not list(tmp_path.iterdir())


def test_wrong_key_frames_do_not_pass():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    times = np.array([0.0, 10.0])
    assert frame_gates.of_keyframes(times, pixels, [0.0, 10.0], pixels).passed
    assert not frame_gates.of_keyframes(times, pixels, [0.0, 10.0], 255 - pixels).passed
    assert not frame_gates.of_keyframes(times, pixels, [0.0, 10.04], pixels).passed
    assert not frame_gates.of_keyframes(times, pixels, [0.0, 5.0, 10.0], None).passed


def test_frames_off_the_grid_do_not_pass():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    times = np.array([0.0, 1.0, 2.0])
    assert frame_gates.of_grid(times, pixels, 25, pixels).passed
    assert frame_gates.of_grid(np.array([0.0, 29 / 30, 59 / 30]), pixels, 30, pixels).passed is False
    assert not frame_gates.of_grid(times[[0, 2]], pixels[[0, 2]], 25, pixels).passed
    assert not frame_gates.of_grid(times, pixels[::-1], 25, pixels).passed
    assert not frame_gates.of_grid(times[:0], pixels[:0], 25, pixels).passed


def test_cuts_are_counted_once_each():
    cuts = frame_gates.of_cuts([1.0, 1.1, 5.0, 9.0], [1.05, 5.3, 9.1], Took(1.0, 1.0, 7))
    assert (cuts.recall, cuts.precision) == (2 / 3, 2 / 4)


def test_the_order_of_contenders_turns():
    ran = []
    runs = {name: lambda keep, name=name: ran.append(name) or Took(1.0, 1.0, 1) for name in "abc"}
    took = races.race(runs, 2)
    assert "".join(ran) == "abcbca"
    assert {name: len(each) for name, each in took.items()} == {"a": 2, "b": 2, "c": 2}


def test_the_interval_of_a_ratio_holds_the_ratio_of_medians():
    low, high = interval_of_ratio([2.0, 2.2, 1.9, 2.1, 6.0], [1.0, 1.1, 1.0, 1.0, 1.0])
    assert 1.7 < low < 2.1 < high <= 6.0
    assert interval_of_ratio([3.0] * 5, [2.0] * 5) == (1.5, 1.5)


@pytest.mark.skipif(not PROC.is_dir(), reason="memory is read from /proc")
def test_a_worker_is_weighed_and_taken_apart(media, monkeypatch):
    monkeypatch.setattr(decode_costs, "_LOOKED_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(decode_costs, "MODES", (decode_costs.Mode.EXACT,))
    (memory,) = decode_costs.memory(media / TINY.file, media / TINY.file)
    assert 5 < memory.value < 1000
    (shares,) = decode_costs.conversion(media / TINY.file)
    assert 0 < shares.value < 10

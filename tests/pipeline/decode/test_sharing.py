"""One long film through several workers at once: the same frames as through one."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import decode, plan, reading, sharing
from pipeline.decode.children import decoders
from pipeline.media import Ending, Facts, FrameChunk, Mode, Sampling, SoundChunk, Transcript
from tests.pipeline.decode.media import children_of, slide, tone, write_film

RATE, SECONDS = 25, 250
SAMPLING = Sampling(size_px=24, rates_hz=(8000,), window_seconds=5.0)
GROUPS = "keyint=120:min-keyint=30:bframes=2:b-adapt=0"
X264 = {"preset": "ultrafast", "crf": "30"}
FILMS = {
    "closed.mp4": X264 | {"x264-params": f"{GROUPS}:open-gop=0:scenecut=0"},
    "open.mp4": X264 | {"x264-params": f"{GROUPS}:open-gop=1:scenecut=0"},
    "open.mkv": X264 | {"x264-params": f"{GROUPS}:open-gop=1:scenecut=0"},
    "cuts.mp4": X264 | {"x264-params": GROUPS},
    "open.ts": X264 | {"x264-params": f"{GROUPS}:open-gop=1"},
    "mpeg2.ts": {"g": "12", "bf": "2", "b": "300k"},
    "mpeg2.mpg": {"g": "12", "bf": "2", "b": "300k"},
}
EVEN = [name for name in FILMS if name not in ("cuts.mp4", "mpeg2.mpg")]
"""Without the one whose tiny frames share a header, so that some of its time stamps err."""


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that writes one of the films once, with cuts, a tone and two lines of text."""
    folder, made = tmp_path_factory.mktemp("long"), {}
    ends = np.cumsum(np.random.default_rng(9).integers(60, 260, 100))
    numbers = np.searchsorted(ends, np.arange(SECONDS * RATE), side="right")

    def write(name: str) -> Path:
        if name not in made:
            pictures = {number: slide(int(number), 96, 54) for number in set(numbers.tolist())}
            made[name] = write_film(
                folder / name, [pictures[number] for number in numbers.tolist()], rate=RATE, options=FILMS[name],
                codec="mpeg2video" if "mpeg2" in name else "libx264",
                sound=tone(SECONDS, 16000), sound_hz=16000, sound_codec="mp2" if name.endswith("mpg") else "aac",
                lines=[(1.0, 2.0, "one"), (200.0, 202.0, "two")] if name.endswith("mp4") else (),
            )  # fmt: skip
        return made[name]

    return write


@pytest.fixture(autouse=True)
def _small_films_are_divided(monkeypatch):
    monkeypatch.setattr(reading, "_SHARED_BYTES", 0)


def no_child_is_left() -> bool:
    deadline = time.monotonic() + 10
    while children_of(decoders()._process.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def joined(items: list) -> tuple:
    """Return what was decoded, however it was cut into chunks: times, pixels, shots, sound, text, facts."""
    chunks = [item for item in items if isinstance(item, FrameChunk)]
    sounds = sorted((s for s in items if isinstance(s, SoundChunk)), key=lambda s: s.start_seconds)
    shots = [(shot.start_seconds, shot.stop_seconds, shot.last - shot.first) for c in chunks for shot in c.shots]
    return (
        np.concatenate([chunk.at_seconds for chunk in chunks]),
        np.concatenate([chunk.pixels for chunk in chunks]),
        np.array(shots),
        np.concatenate([sound.samples for sound in sounds]) if sounds else np.zeros(0),
        [item for item in items if isinstance(item, Transcript)],
        [item for item in items if isinstance(item, Facts)],
    )


def check_same(ours: list, others: list) -> None:
    *arrays, text, facts = joined(ours)
    *other_arrays, other_text, other_facts = joined(others)
    for a, b in zip(arrays, other_arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (text, facts) == (other_text, other_facts)
    assert len(facts) == 1
    assert (np.diff(arrays[0]) > 0).all()
    assert isinstance(ours[0], Facts)
    assert isinstance(ours[-1], Ending)
    assert sum(isinstance(item, Ending) for item in ours) == 1


@pytest.mark.parametrize(
    ("damages", "whole"),
    [
        ([], None),
        (["corrupt:2", "corrupt:3"], "corrupt:5"),
        (["corrupt:2", "truncated_at:7.5"], "truncated_at:7.5"),
        (["missing_frames:1", "corrupt:2", "missing_frames:4"], "corrupt:2"),
        (["missing_frames:1", "missing_frames:4"], "missing_frames:5"),
        (["missing_frames:1", "memory", "truncated_at:7.5"], "memory"),
    ],
)
def test_the_damage_of_all_is_told_as_one_would(damages, whole):
    assert sharing._worst(damages) == whole


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("name", FILMS)
def test_any_number_of_workers_gives_the_same(film, name, mode):
    path, sampling = film(name), Sampling(size_px=24, mode=mode, rates_hz=(8000,))
    one = list(decode(path, sampling))
    assert one[-1].damage is None
    assert one[-1].decoded_seconds == pytest.approx(SECONDS, abs=0.3)
    assert len(joined(one)[0]) > SECONDS / 10
    if name.endswith("mp4"):
        assert [len(item.lines) for item in one if isinstance(item, Transcript)] == [2]
    for workers in (2, 3) if mode == Mode.AUTO else (3,):
        several = list(decode(path, sampling, workers=workers))
        check_same(several, one)
        assert several[-1].damage is None
        assert several[-1].decoded_seconds == pytest.approx(one[-1].decoded_seconds)
        assert several[-1].frames_decoded == one[-1].frames_decoded
    assert no_child_is_left()


@pytest.mark.parametrize("name", FILMS)
def test_films_are_divided_whether_or_not_they_have_an_index(film, name):
    starts = np.array(plan(film(name), SAMPLING).starts)
    assert len(starts) == 4
    np.testing.assert_allclose(starts, SECONDS / 4 * np.arange(4), atol=25)


def test_a_film_without_an_index_whose_times_leap_is_not_divided(film, tmp_path):
    twice = tmp_path / "twice.ts"
    twice.write_bytes(2 * film("mpeg2.ts").read_bytes())
    assert len(plan(twice, SAMPLING).starts) < 2
    check_same(list(decode(twice, SAMPLING, workers=2)), list(decode(twice, SAMPLING)))


@pytest.mark.parametrize("name", EVEN)
def test_exact_keeps_the_whole_grid_over_the_edges_of_pieces(film, name):
    items = list(decode(film(name), Sampling(size_px=24, mode=Mode.EXACT, interval_seconds=0.2), workers=3))
    np.testing.assert_allclose(joined(items)[0], np.arange(SECONDS * 5) / 5, atol=1.1e-3)
    assert items[-1].damage is None


def test_as_many_children_share_a_film_as_were_asked_for(film):
    for workers in (1, 2, 3):
        items = decode(film("closed.mp4"), chunky(), workers=workers)
        next(items)
        assert len(children_of(decoders()._process.pid)) == workers
        items.close()
        assert no_child_is_left()


def test_a_small_film_is_not_divided(film, monkeypatch):
    monkeypatch.setattr(reading, "_SHARED_BYTES", 2**40)
    items = decode(film("closed.mp4"), SAMPLING, workers=3)
    next(items)
    assert len(children_of(decoders()._process.pid)) == 1
    items.close()
    assert no_child_is_left()


def chunky() -> Sampling:
    """Return a sampling of so many and so large frames that children wait for whoever takes them."""
    return Sampling(size_px=260, mode=Mode.EXACT, interval_seconds=0.2, chunk_seconds=3.0, rates_hz=(8000,))


@pytest.mark.parametrize("taken", [1, 2, 6])
def test_closing_half_way_ends_all_children(film, taken):
    items = decode(film("closed.mp4"), chunky(), workers=3)
    for _ in range(taken):
        next(items)
    assert len(children_of(decoders()._process.pid)) >= 2
    items.close()
    assert no_child_is_left()


@pytest.mark.parametrize("victim", [1, 2])
def test_a_child_that_dies_costs_its_own_frames_alone_and_is_told(film, victim):
    whole = joined(list(decode(film("closed.mp4"), chunky())))[0]
    items, got = decode(film("closed.mp4"), chunky(), workers=3), []
    for item in items:
        got.append(item)
        if isinstance(item, FrameChunk) and victim:
            os.kill(sorted(children_of(decoders()._process.pid))[victim], signal.SIGKILL)
            victim = 0
    assert got[-1].damage == "memory", "that is what a kill from outside looks like"
    at = joined(got)[0]
    assert set(at) < set(whole)
    assert (np.diff(at) > 0).all()
    assert len(at) > len(whole) / 2
    assert at[0] == whole[0]
    assert no_child_is_left()


def test_the_first_child_that_dies_leaves_what_the_others_had(film):
    items, got, killed = decode(film("closed.mp4"), chunky(), workers=2), [], False
    for item in items:
        got.append(item)
        if isinstance(item, FrameChunk) and not killed:
            os.kill(min(children_of(decoders()._process.pid)), signal.SIGKILL)
            killed = True
    assert got[-1].damage == "memory"
    assert joined(got)[0].max() > 100
    assert no_child_is_left()


@pytest.fixture
def truncated(film, tmp_path) -> Iterator[Path]:
    """Write a film whose index comes first, and cut it off at two thirds."""
    path = write_film(
        tmp_path / "cut.mp4", [slide(n // 100, 64, 36) for n in range(SECONDS * 10)], rate=10,
        options={"preset": "ultrafast", "crf": "20", "x264-params": "keyint=50:scenecut=0"},
        muxing={"movflags": "faststart"},
    )  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def test_a_film_that_is_cut_off_gives_what_there_is_of_it(truncated):
    one = list(decode(truncated, SAMPLING))
    assert one[-1].damage.startswith("truncated_at:")
    for workers in (2, 3):
        several = list(decode(truncated, SAMPLING, workers=workers))
        np.testing.assert_array_equal(joined(several)[0], joined(one)[0])
        np.testing.assert_array_equal(joined(several)[1], joined(one)[1])
        assert several[-1].damage.split(":")[0] == "truncated_at"
    assert no_child_is_left()

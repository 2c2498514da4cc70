"""`rushes probe` on real files."""

import json

import pytest

from flows.cli import main
from tests.pipeline.decode.media import slides, tone, write_film, write_sound


@pytest.fixture
def film(tmp_path):
    frames = [frame for _ in range(4) for frame in slides(3, 50)]
    options = {"x264-params": "keyint=150:min-keyint=150:scenecut=0"}
    return write_film(tmp_path / "film.mp4", frames, options=options, tags={"title": "The Harbour"})


def test_a_film_is_told_with_its_plan(film, capsys):
    assert main(["probe", str(film), "--plan"]) == 0
    told = capsys.readouterr().out
    for line in ("media       video, mov/h264", "pictures    160 x 90, 25 frames a second", "duration    0:24"):
        assert line in told
    assert "The Harbour" in told
    assert "plan        shots: key frames lie 6.0 s apart" in told
    assert "of 600 packets" in told


def test_each_mode_has_a_plan_of_its_own_and_programs_get_all_of_it(film, capsys):
    plans = {}
    for mode in ("keyframes", "snap", "exact", "shots"):
        assert main(["probe", str(film), "--plan", "--mode", mode, "--json"]) == 0
        plans[mode] = json.loads(capsys.readouterr().out)["plan"]
        assert plans[mode]["mode"] == mode
        assert plans[mode]["n_packets"] == 600
    assert plans["keyframes"]["at_seconds"] == [0, 6, 12, 18]
    assert plans["keyframes"]["n_decoded"] == 4
    assert plans["exact"]["at_seconds"] == list(range(24))
    assert [r["start_seconds"] for r in plans["exact"]["ranges"]] == [0, 6, 12, 18]
    assert plans["keyframes"]["n_decoded"] < plans["shots"]["n_decoded"] <= plans["exact"]["n_decoded"]


def test_the_plan_is_what_is_decoded(film):
    from pipeline.decode import decode, plan
    from pipeline.media import Ending, Modality, Mode, Sampling

    for mode in ("keyframes", "snap", "exact"):
        sampling = Sampling(mode=Mode(mode))
        ending = list(decode(film, sampling, want=frozenset({Modality.VISUAL})))[-1]
        assert isinstance(ending, Ending)
        assert ending.frames_expected == len(plan(film, sampling).at_seconds)
        assert ending.frames_missing == 0
        assert ending.sampled == f"{mode}: asked for"


def test_sound_and_pictures_have_no_plan(tmp_path, capsys):
    assert main(["probe", str(write_sound(tmp_path / "a.wav", tone(1.0), "pcm_s16le")), "--plan"]) == 0
    told = capsys.readouterr().out
    assert "sound       1 track" in told
    assert "plan        none" in told


@pytest.mark.parametrize(("name", "content"), [("empty.mp4", b""), ("list.mp4", b"#EXTM3U\nfile:///etc/passwd\n")])
def test_what_cannot_be_decoded_is_one_sentence(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert main(["probe", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("rushes: ")
    assert name in said
    assert said.count("\n") == 1

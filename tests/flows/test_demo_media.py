import hashlib
import json
import tomllib
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from flows.demo_media import ORIGINALS, DemoMedia, make_demo_media
from pipeline.decode.compose import read_sound


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoMedia:
    return make_demo_media(tmp_path_factory.mktemp("demo"))


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_set_is_small_and_of_every_kind(demo):
    assert sum((demo.source / name).stat().st_size for name in demo.files) < 10e6
    assert sum(path.stat().st_size for path in ORIGINALS.iterdir()) < 2e6
    by_folder = {folder: [n for n in demo.files if n.startswith(folder)] for folder in ("films", "stills", "sounds")}
    assert [len(names) for names in by_folder.values()] == [4, 12, 3]  # with one .srt and one .json


def test_making_it_twice_gives_the_same_bytes(demo, tmp_path):
    again = make_demo_media(tmp_path)
    assert content(again.source) == content(demo.source)
    assert again.files == demo.files


@pytest.mark.parametrize(("name", "seconds"), [("reel-01.mp4", 28), ("reel-02.webm", 24), ("reel-03.mkv", 24)])
def test_films_have_four_pictures_and_sound(demo, name, seconds):
    with av.open(str(demo.source / "films" / name)) as container:
        frames = [frame.to_ndarray(format="gray")[::8, ::8].astype(int) for frame in container.decode(video=0)]
    assert len(frames) == seconds * 12
    changes = np.array([np.abs(a - b).mean() for a, b in pairwise(frames)])
    cuts = np.sort(changes.argsort()[-3:]) + 1
    assert cuts.tolist() == [len(frames) // 4 * i for i in (1, 2, 3)]
    assert read_sound(demo.source / "films" / name, 16000).seconds > 0.5 * seconds


def test_pictures_and_sounds_can_be_read(demo):
    for name in demo.files:
        path = demo.source / name
        if name.startswith("sounds"):
            assert 0.01 < read_sound(path, 16000).samples.std() < 0.5
        elif name.startswith("stills") and path.suffix != ".json":
            Image.open(path).verify()
    about = json.loads((demo.source / "stills" / "IMG_2063.json").read_text("utf8"))
    assert {"title", "description", "tags", "date"} <= set(about)


def test_queries_are_of_every_kind_and_answered_in_the_folder(demo):
    assert {query.kind for query in demo.queries} == {"words", "picture", "sound", "like"}
    assert len(demo.queries) >= 6
    for query in demo.queries:
        assert query.expected in demo.files
        assert bool(query.words) == (query.kind == "words")
        assert (query.path is not None) == (query.kind in ("picture", "sound"))
        assert (query.uri in demo.files) == (query.kind == "like")
        if query.path is not None:  # what is asked with is none of the archive's files
            assert query.path.is_file()
            assert demo.source not in query.path.parents


def test_originals_are_installed_with_the_package():
    project = tomllib.loads((ORIGINALS.parents[1] / "pyproject.toml").read_text("utf8"))
    patterns = project["tool"]["setuptools"]["package-data"]["flows"]
    room = ORIGINALS.parent
    assert set(ORIGINALS.iterdir()) <= {path for pattern in patterns for path in room.glob(pattern)}


def test_every_original_has_its_source_and_licence():
    named = (ORIGINALS / "SOURCES.txt").read_text("utf8")
    for path in ORIGINALS.iterdir():
        assert path.name == "SOURCES.txt" or f"  {path.name} " in named

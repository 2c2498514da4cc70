"""Plug-ins are distributions that tests install into a folder of sys.path: a module, and a dist-info that names it."""

import subprocess
import sys
from pathlib import Path

import pytest

import encoders
from encoders.registry import PlugInError, UnknownEncoderError

TEN_LINES = """
import numpy as np
from encoders.spec import Encoded, EncoderSpec

class Brightness:
    def __init__(self, gain="1"):
        self.gain = float(gain)
        self.spec = EncoderSpec("brightness", f"brightness-{gain}-2", 2, size_px=64)

    def encode_frames(self, frames):
        angle = np.clip(frames.mean(axis=(1, 2, 3)) * self.gain / 255, 0, 1) * np.pi / 2
        return Encoded(np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), ((),) * len(frames))

class Nothing:
    pass
"""


def install(site: Path, code: str, *entries: str, name: str = "bright", module: str = "") -> None:
    """Install a distribution as pip does: a module, and a dist-info with its entry points."""
    site.mkdir(exist_ok=True)
    (site / f"{module or name + '_plug_in'}.py").write_text(code, "utf8")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf8")
    (info / "entry_points.txt").write_text("\n".join(["[rushes.encoders]", *entries]) + "\n", "utf8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    install(
        site,
        TEN_LINES,
        "brightness = bright_plug_in:Brightness",
        "bare = bright_plug_in:Nothing",
        "gone = bright_plug_in:Gone",
        "absent = no_such_module:load",
    )
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("bright_plug_in", None)


def test_a_plug_in_is_an_encoder_by_name_and_as_a_family(site: Path) -> None:
    assert encoders.load("brightness").spec.space == "brightness-1-2"
    assert encoders.load("brightness:0.5").spec.space == "brightness-0.5-2"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "has no attribute 'Gone'"),
        ("absent", "No module named 'no_such_module'"),
        ("brightness:dark", "could not convert string to float"),
        ("bare", "gives Nothing, which has none of encode_frames"),
    ],
)
def test_a_broken_plug_in_is_one_sentence(site: Path, name: str, said: str) -> None:
    with pytest.raises(PlugInError, match=said) as caught:
        encoders.load(name)
    assert str(caught.value).startswith(f"The plug-in {name.partition(':')[0]!r} (")
    assert ", of bright)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_plug_ins_too(site: Path) -> None:
    with pytest.raises(UnknownEncoderError, match=r"and of plug-ins .*brightness"):
        encoders.load("darkness")


def test_a_plug_in_cannot_take_the_name_of_a_family_of_ours(site: Path) -> None:
    install(site, TEN_LINES, "sentence = impostor_plug_in:Brightness", name="impostor")
    assert type(encoders.load("sentence")).__module__ == "encoders.sentence"


def test_only_who_asks_for_one_searches_what_is_installed() -> None:
    code = "import encoders.registry as r; r._entry_points = None; r.load('sentence')"
    subprocess.run([sys.executable, "-c", code], check=True)

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

import encoders
from encoders.profiles import PROFILES, profile
from encoders.spec import FrameEncoder, SoundEncoder, TextEncoder


def test_a_profile_names_encoders_that_exist() -> None:
    for chosen in PROFILES.values():
        assert {chosen.visual, chosen.text, chosen.audio, chosen.speech} <= set(encoders.names())


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="There is no profile 'huge'; known are embedded"):
        profile("huge")


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        profile("embedded").visual = "clip"  # type: ignore[misc]


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(encoders.UnknownEncoderError, match="There is no encoder 'clip'; known are labels, sentence"):
        encoders.load("clip")


def test_visual_and_text_encoders_fulfil_their_protocols() -> None:
    labels, sentence = encoders.load("labels"), encoders.load("sentence")
    assert isinstance(labels, FrameEncoder)
    assert isinstance(labels, TextEncoder)
    assert isinstance(sentence, TextEncoder)
    assert not isinstance(sentence, FrameEncoder | SoundEncoder)
    assert labels.spec.space != sentence.spec.space


def test_asking_for_an_encoder_loads_no_weights() -> None:
    code = "import encoders, sys; encoders.load('labels'); encoders.load('sentence'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

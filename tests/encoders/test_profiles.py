import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

import encoders
from encoders.profiles import Profile, described, profile
from encoders.spec import FrameEncoder, SoundEncoder, TextEncoder


def test_the_default_is_as_it_was() -> None:
    chosen = profile("embedded").encoders()
    assert chosen == {"visual": "labels", "text": "sentence", "audio": "sounds", "speech": "whisper"}


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="There is no profile 'huge'; known are embedded, open, large"):
        profile("huge")


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        profile("embedded").visual = "clip"  # type: ignore[misc]


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(encoders.UnknownEncoderError, match="There is no encoder 'klip:x'; known are caption"):
        encoders.load("klip:x")


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


def test_a_person_s_own_profile_begins_with_another() -> None:
    mine = described("mine", {"base": "open", "visual": "clip:/models/ours", "gpu_share": 1})
    assert mine.encoders() == {**profile("open").encoders(), "visual": "clip:/models/ours"}
    assert (mine.name, mine.gpu_share) == ("mine", 1)


def test_a_person_s_own_profile_may_name_everything() -> None:
    said = {"visual": "labels", "text": "st:/t", "audio": "sounds", "speech": "whisper", "captions": "caption:/c"}
    assert described("mine", said) == Profile(name="mine", **said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"visual": "labels"}, "text is missing; name an encoder"),
        ({"base": "open", "sight": "clip"}, "'sight' means nothing; known are base, visual"),
        ({"base": "huge"}, "There is no profile 'huge'"),
        ({"base": 3}, "base = 3 needs to be the name"),
        ({"base": "open", "visual": 3}, "visual = 3 needs to be the name of an encoder"),
        ({"base": "open", "text": ""}, "text = '' needs to be"),
        ({"base": "open", "gpu_share": 2}, "gpu_share = 2 needs to be a number from 0 to 1"),
        ({"base": "open", "gpu_share": True}, "gpu_share = True needs to be"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, LookupError), match=message):
        described("mine", said)


def test_the_names_of_our_profiles_are_taken() -> None:
    with pytest.raises(ValueError, match="belongs to a profile that comes with Rushes"):
        described("open", {"base": "embedded"})

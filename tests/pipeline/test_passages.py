from encoders.spec import Utterance
from pipeline.passages import LONGEST_GAP_SECONDS, passages


def said(start: float, stop: float, text: str, language: str = "en", track: str = "speech") -> Utterance:
    return Utterance(start, stop, text, language, track)


def test_neighbouring_sentences_are_searchable_together():
    found = passages([said(0, 2, "A."), said(2.2, 4, "B."), said(4.3, 6, "C."), said(6.1, 8, "D.")])
    assert [(p.start_seconds, p.stop_seconds, p.text) for p in found] == [
        (0, 4, "A. B."), (0, 6, "A. B. C."), (2.2, 6, "B. C."), (2.2, 8, "B. C. D."), (4.3, 8, "C. D."),
    ]  # fmt: skip
    assert {p.track for p in found} == {"passage:speech"}


def test_a_pause_ends_a_passage():
    gap = LONGEST_GAP_SECONDS + 0.1
    assert passages([said(0, 2, "A."), said(2 + gap, 4, "B.")]) == []


def test_languages_and_tracks_are_not_mixed():
    assert passages([said(0, 2, "A."), said(2, 4, "B.", "fr"), said(2, 4, "C.", "en", "translation:en")]) == []


def test_a_passage_is_not_longer_than_can_be_listened_to():
    assert passages([said(0, 12, "A."), said(12, 24, "B.")]) == []

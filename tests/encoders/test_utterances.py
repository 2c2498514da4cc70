"""Words into sentences, windows of one language, and what is not believed."""

from itertools import pairwise

import numpy as np
import pytest

from encoders.listening import WINDOW_SECONDS, Window, batches, likeliest_path, main_language, packed
from encoders.utterances import Word, objection, sentences, with_translations
from encoders.voice import FRAME_SECONDS, Stretch, find_speech


def spoken(text, *, start=0.0, each=0.4, language="en", gaps=()):
    words, at = [], start
    for number, piece in enumerate(text.split()):
        words.append(Word(" " + piece, at, at + each, 0.9, language))
        at += each + dict(gaps).get(number, 0.0)
    return words


def voiced(words, seconds=60.0):
    voice = np.zeros(round(seconds / FRAME_SECONDS), np.float32)
    for word in words:
        voice[round(word.start_seconds / FRAME_SECONDS) : round(word.stop_seconds / FRAME_SECONDS)] = 0.95
    return voice


def texts(words):
    return [utterance.text for utterance, _ in sentences(words, voiced(words))]


def test_sentences_end_at_their_marks():
    assert texts(spoken("It rains. Does it? Yes! Mr. Smith pays 3.5 pounds in St. Ives.")) == [
        "It rains.",
        "Does it?",
        "Yes!",
        "Mr. Smith pays 3.5 pounds in St. Ives.",
    ]


def test_chinese_sentences_end_without_a_blank():
    words = [
        Word(c, i * 0.3, i * 0.3 + 0.3, 0.9, "zh") for i, c in enumerate(["天", "黑了。", "你", "好", "吗？", "好"])
    ]

    assert texts(words) == ["天黑了。", "你好吗？", "好"]


def test_a_pause_ends_a_sentence_and_a_breath_does_not():
    assert texts(spoken("one two three four", gaps={1: 0.8})) == ["one two", "three four"]
    assert texts(spoken("one two three four", gaps={1: 0.3})) == ["one two three four"]


def test_a_pause_is_seen_although_the_words_reach_into_it():
    words = spoken("one two three", gaps={1: 1.2})
    voice = voiced(words)
    words[1] = Word(" two", 0.4, 1.9, 0.9, "en")  # to just before the third

    assert [u.text for u, _ in sentences(words, voice)] == ["one two", "three"]


def test_another_language_is_another_sentence():
    words = spoken("good morning", language="en") + spoken("guten Tag", start=0.9, language="de")

    assert [(u.text, u.language) for u, _ in sentences(words, voiced(words))] == [
        ("good morning", "en"),
        ("guten Tag", "de"),
    ]


def test_times_are_those_of_the_voice():
    words = [Word(" hello", 1.0, 3.0, 0.9, "en")]
    voice = np.zeros(200, np.float32)
    voice[50:75] = 0.9

    ((utterance, probability),) = sentences(words, voice)

    assert (utterance.start_seconds, utterance.stop_seconds) == (1.6, 2.4)
    assert probability == pytest.approx(0.9)


def test_a_sentence_always_lasts():
    ((utterance, _),) = sentences([Word(" hm", 1.0, 1.0, 0.9, "en")], np.zeros(100, np.float32))

    assert utterance.stop_seconds > utterance.start_seconds


def test_marks_alone_are_no_sentence():
    assert texts([Word(" ...", 0.0, 1.0, 0.9, "en")]) == []


@pytest.mark.parametrize(
    ("text", "facts", "reason"),
    [
        ("The train leaves at nine.", {}, ""),
        ("...", {}, "no words"),
        ("The train leaves at nine.", {"log_probability": -1.4}, "unlikely"),
        ("Thank you.", {"log_probability": -0.8, "silence_probability": 0.9}, "silence"),
        ("and can and can and can and can and can", {}, "repetition"),
        ("press one to go " * 9, {"voiced_seconds": 12.0}, "repetition"),
        ("The train leaves at nine from platform four to the coast.", {"voiced_seconds": 0.5}, "too fast"),
        ("No, no, no!", {}, ""),
    ],
)
def test_what_looks_invented_is_named(text, facts, reason):
    plain = {"log_probability": -0.2, "silence_probability": 0.1, "voiced_seconds": 2.0}

    assert objection(text, **{**plain, **facts}) == reason


def test_translations_go_with_their_sentences():
    words = spoken("Guten Tag. Wie geht es?", language="de")
    said = [u for u, _ in sentences(words, voiced(words))]
    window = Window(0.0, 5.0, "de", 2.0)

    one_to_one = with_translations(said, [(window, "Good day. How are you?")])
    in_one_piece = with_translations(said, [(window, "Good day and how are you?")])

    assert [(u.text, u.track) for u in one_to_one] == [
        ("Guten Tag.", "speech"),
        ("Good day.", "translation:en"),
        ("Wie geht es?", "speech"),
        ("How are you?", "translation:en"),
    ]
    assert one_to_one[1].start_seconds == said[0].start_seconds
    (whole,) = (u for u in in_one_piece if u.track != "speech")
    assert (whole.start_seconds, whole.stop_seconds) == (said[0].start_seconds, said[1].stop_seconds)
    assert whole.language == "en"
    assert with_translations([], [(window, "Nothing was said.")]) == []


def stretch(start, stop):
    return Stretch(round(start / FRAME_SECONDS), round(stop / FRAME_SECONDS), 0.99)


def test_windows_hold_neighbours_of_one_language():
    stretches = [stretch(0, 4), stretch(5, 8), stretch(8.5, 9.6), stretch(20, 22), stretch(22.5, 36)]

    windows = packed(stretches, ["en", "en", "de", "de", "de"], 40.0)

    assert [w.language for w in windows] == ["en", "de", "de", "de"]
    assert [round(w.voiced_seconds) for w in windows] == [7, 1, 2, 14]
    assert all(a.stop <= b.start for a, b in pairwise(windows))
    assert windows[0].start == 0
    assert main_language(windows) == "de"
    assert {w.language for batch in batches(windows, 4) for w in batch[:1]} == {"en", "de"}
    assert sorted(w for batch in batches(windows, 4) for w in [w.start for w in batch]) == [w.start for w in windows]


def test_the_likeliest_path_ignores_a_whim_and_follows_a_change():
    sure, unsure = np.log([0.99, 0.01]), np.log([0.4, 0.6])

    assert likeliest_path(np.array([sure, unsure, sure])) == [0, 0, 0]
    assert likeliest_path(np.array([sure, sure, sure[::-1], sure[::-1]])) == [0, 0, 1, 1]
    assert likeliest_path(np.array([sure, sure[::-1], sure])) == [0, 1, 0]
    assert likeliest_path(np.array([unsure])) == [1]


def test_speech_is_found_and_cut():
    voice = np.zeros(1000, np.float32)
    voice[10:40] = 0.97
    voice[45:60] = 0.6  # a short pause: the same stretch
    voice[200:210] = 0.4  # never gets likely
    voice[300:900] = 0.9  # 19 s
    voice[600] = 0.7

    found = find_speech(voice)

    assert [(s.start, s.stop) for s in found] == [(10, 60), (300, 600), (600, 900)]
    assert found[0].peak == pytest.approx(0.97)
    assert all(stop - start < WINDOW_SECONDS for start, stop in (s.seconds for s in found))
    assert find_speech(np.zeros(0, np.float32)) == []

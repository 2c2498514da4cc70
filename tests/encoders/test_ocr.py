"""Text on the screen, read with the real weights; and the order in which lines are read."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from encoders import ocr, weights
from encoders.ocr import Line, in_reading_order
from encoders.packages import MissingPackageError, is_here


def drawn(*texts, size=(1280, 720), height=48):
    """Return a frame, uint8 [H, W, 3]: white on dark blue, each text at its place."""
    picture = Image.new("RGB", size, (20, 30, 70))
    for (left, top), text in texts:
        ImageDraw.Draw(picture).text((left, top), text, "white", ImageFont.load_default(height))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def reader():
    if not is_here(weights.RAPIDOCR):
        pytest.skip("the extra `ocr` is not installed")
    return ocr.load()


def test_words_are_read_from_top_to_bottom_and_left_to_right(reader):
    frame = drawn(((700, 300), "evening"), ((100, 300), "Saturday"), ((100, 100), "HARBOUR LIGHTS"))

    assert reader.read_frames(frame[None]) == ["HARBOUR LIGHTS Saturday evening"]


def test_each_frame_gets_a_text_and_an_empty_one_none(reader):
    blank = drawn()
    texts = reader.read_frames(np.stack([blank, drawn(((200, 300), "Platform 7")), blank]))

    assert texts == ["", "Platform 7", ""]
    assert reader.read_frames(np.zeros((0, 720, 1280, 3), np.uint8)) == []


def test_a_single_letter_is_no_text(reader):
    assert reader.read_frames(drawn(((600, 300), "E"))[None]) == [""]


def test_the_reader_names_what_it_is(reader):
    assert reader.name.startswith("ocr-ppocr4-")
    assert (reader.track, reader.size_px) == ("ocr", ocr.SIZE_PX)


def test_a_missing_package_names_its_cure(monkeypatch):
    def require(package):
        raise MissingPackageError("not installed")

    monkeypatch.setattr(ocr, "require", require)

    with pytest.raises(MissingPackageError, match=r"pip install 'rushes\[ocr\]'"):
        ocr.load()


def test_blanks_that_are_hardly_seen_are_put():
    seen = np.zeros((1, 8, 4), np.float32)
    for column, character in enumerate([1, 0, 1, 0, 2, 2, 0, 1]):
        seen[0, column, character] = 0.9
    seen[0, 3, 3] = 0.05

    ((text, sure),) = ocr.Spelling(["", "a", "b", " "])(seen)

    assert (text, sure) == ("aa ba", pytest.approx(0.9))
    assert ocr.Spelling(["", "a", "b", " "])(np.zeros((1, 5, 4), np.float32)) == [("", 0.0)]


def line(text, left, top, height=20):
    return Line(text, left, top, top + height)


def test_lines_beside_each_other_are_read_from_the_left():
    lines = [line("c", 10, 50), line("b", 200, 8), line("a", 10, 12), line("d", 100, 62)]

    assert "".join(each.text for each in in_reading_order(lines)) == "abcd"


def test_no_lines_have_no_order():
    assert in_reading_order([]) == []

import pytest

import index
from index.build import build, is_current, is_settled
from index.labelling import Term, fingerprint, vocabulary
from pipeline.errors import ConfigError
from pipeline.media import Media
from pipeline.recipe import Models
from pipeline.store.tables import Tables
from tests.index.archives import fill, said, seen
from tests.toys import Colours

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def archive(make_archive):
    archive, models = make_archive(), Models.of("toy")
    moments = [seen(models, "a1", 0, 10, RED), seen(models, "a1", 10, 20, BLUE), said(models, "a1", 2, 4, "blue ships")]
    fill(archive, {"a1": ("show.mp4", Media.VIDEO, moments)})
    return archive


def labels_in(archive) -> dict[float, list[str]]:
    """The labels of the shots, by start."""
    hits = index.open(archive.root).search("red blue", modality="visual")
    return {hit.start_seconds: [label.name for label in hit.labels] for hit in hits}


def test_labels_that_fit_stand_before_those_of_the_model(archive):
    archive.labels.write_text("# ours\n\nnight: all in blue\n")
    build(archive)
    assert labels_in(archive) == {0: ["red"], 10: ["night", "blue"]}
    (hit,) = (hit for hit in index.open(archive.root).search("blue", modality="visual") if hit.start_seconds == 10)
    assert hit.labels[0].score > 0.95
    assert hit.why.startswith("looks like night")


def test_a_change_of_labels_encodes_no_picture_and_leaves_the_tables_alone(archive, monkeypatch):
    build(archive)
    versions = Tables(archive.tables).versions()

    def refuse(self, frames):
        raise AssertionError("pictures are encoded once")

    monkeypatch.setattr(Colours, "encode_frames", refuse)
    assert is_current(archive)
    archive.labels.write_text("fire engine: red\n")
    assert not is_current(archive)
    assert not is_settled(archive)
    build(archive)
    assert is_current(archive)
    assert labels_in(archive) == {0: ["fire engine", "red"], 10: ["blue"]}
    archive.labels.unlink()
    assert not is_current(archive)
    build(archive)
    assert labels_in(archive) == {0: ["red"], 10: ["blue"]}
    assert Tables(archive.tables).versions() == versions


def test_a_label_that_the_model_gives_too_is_there_once(archive):
    archive.labels.write_text("blue\n")
    build(archive)
    assert labels_in(archive)[10] == ["blue"]


def test_lines_are_labels_with_or_without_a_description(archive):
    archive.labels.write_text("\ufefflighthouse\n  night shift :  people at work: at night  # a comment\n#\n", "utf8")
    terms = vocabulary(archive)
    assert terms == (Term("lighthouse"), Term("night shift", "people at work: at night"))
    assert [term.text for term in terms] == ["lighthouse", "night shift: people at work: at night"]
    assert fingerprint(terms) != fingerprint(terms[:1])
    archive.labels.write_text("# nothing yet\n")
    assert vocabulary(archive) == ()
    assert fingerprint(()) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dog\n: no name\n", "line 2: ': no name' needs a label"),
        ("x" * 81, "line 1: .* needs a label of 1 to 80 characters"),
        ("dog\nDog\n", "line 2: 'Dog' is there already; remove one"),
    ],
)
def test_a_line_that_is_no_label_is_named(archive, text, told):
    archive.labels.write_text(text)
    with pytest.raises(ConfigError, match=told):
        vocabulary(archive)


def test_labels_that_cannot_be_read_say_so(archive):
    archive.labels.write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match="readable file in UTF-8"):
        vocabulary(archive)

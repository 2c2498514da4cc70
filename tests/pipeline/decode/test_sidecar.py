"""Metadata files as people and programs write them."""

import json

import pytest

from pipeline.decode import read_sidecar
from pipeline.decode.sidecar import parse_sidecar
from pipeline.errors import MediaError


def test_known_keys_have_their_place_and_all_others_are_kept():
    found = parse_sidecar(
        json.dumps(
            {"Title": "Quay", "DESCRIPTION": "Boats", "tags": ["harbour", "dusk, sea"], "keywords": "dusk",
             "date": 2024, "rating": 4.5, "public": True, "nothing": None,
             "camera": {"Make": "Canon", "lens": ["a", "b"]}}
        ).encode()
    )  # fmt: skip
    assert (found.title, found.description, found.date) == ("Quay", "Boats", "2024")
    assert found.tags == ("harbour", "dusk", "sea")
    assert found.others == {"rating": "4.5", "public": "true", "camera.make": "Canon", "camera.lens": "a, b"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding):
    assert parse_sidecar('{"title": "Grüße"}'.encode(encoding)).title == "Grüße"


def test_control_characters_and_surrogates_do_not_get_through():
    found = parse_sidecar(b'{"title": "a\\u001b[31m\\ud800b", "description": "x\\ny"}')
    assert found.title == "a [31m?b"
    assert found.description == "x y"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"3", b"{", b"\xff\xff", b"[" * 100_000, b'{"a":' * 50_000, b'{"title": 1' + b"0" * 5000 + b"}",
     json.dumps({str(n): n for n in range(1000)}).encode()],
)  # fmt: skip
def test_garbage_is_bad_metadata(data):
    with pytest.raises(MediaError) as error:
        parse_sidecar(data)
    assert error.value.reason == "bad_metadata"


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"title": "' + b"x" * 2_000_000 + b'"}')
    with pytest.raises(MediaError, match="bad_metadata"):
        read_sidecar(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("/etc/passwd")
    with pytest.raises(MediaError, match="link"):
        read_sidecar(tmp_path / "b.json")

"""Films with known content: times, cuts, shapes and colours are those that were written."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import Limits, decode, probe
from pipeline.errors import MediaError
from pipeline.media import Ending, Facts, FrameChunk, Line, Media, Modality, Sampling, SoundChunk, Transcript
from tests.pipeline.decode.media import flat, slide, slides, tone, write_film, write_sound

SAMPLING = Sampling(size_px=64)


def decoded(path: Path, sampling: Sampling = SAMPLING, **options) -> dict[type, list]:
    found: dict[type, list] = {kind: [] for kind in (Facts, FrameChunk, SoundChunk, Transcript, Ending)}
    items = list(decode(path, sampling, **options))
    for item in items:
        found[type(item)].append(item)
    assert isinstance(items[0], Facts)
    assert isinstance(items[-1], Ending)
    return found


def bounds(found: dict[type, list]) -> list[tuple[float, float]]:
    shots = [shot for chunk in found[FrameChunk] for shot in chunk.shots]
    return [(round(shot.start_seconds, 3), round(shot.stop_seconds, 3)) for shot in shots]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {}),
        ("h264.mov", {}),
        ("h264.flv", {}),
        ("h264.ts", {}),
        ("hevc10.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
        ("vp8.webm", {"codec": "libvpx"}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("av1.mkv", {"codec": "libsvtav1", "options": {"preset": "12"}}),
        ("mpeg2.mpg", {"codec": "mpeg2video"}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("prores.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
        ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("wmv.wmv", {"codec": "wmv2"}),
        ("raw.avi", {"codec": "rawvideo", "pix_fmt": "bgr24"}),
    ],
)
def test_every_codec_gives_the_cuts_times_and_colours_that_were_written(tmp_path, name, options):
    path = write_film(tmp_path / name, slides(3, 50), **options)
    found = decoded(path)
    (facts,) = found[Facts]
    assert (facts.media, facts.width, facts.height) == (Media.VIDEO, 160, 90)
    np.testing.assert_allclose(bounds(found), [(0, 2), (2, 4), (4, 6)], atol=0.041)
    (chunk,) = found[FrameChunk]
    assert chunk.pixels.shape == (len(chunk.at_seconds), 64, 114, 3)
    assert (np.diff(chunk.at_seconds) > 0).all()
    for number, shot in enumerate(chunk.shots):
        shown = chunk.pixels[shot.first].astype(int)
        errors = [np.abs(shown[::8, ::8] - slide(n, 114, 64)[::8, ::8]).mean() for n in range(3)]
        assert np.argmin(errors) == number
        np.testing.assert_allclose(shown[2, 2], slide(number)[0, 0], atol=12)
        at = chunk.at_seconds[shot.first : shot.last]
        assert 0 <= at[0] - shot.start_seconds <= 0.5
        assert ((shot.start_seconds <= at) & (at < shot.stop_seconds)).all()
    (ending,) = found[Ending]
    assert ending.damage is None
    assert ending.decoded_seconds == pytest.approx(6, abs=0.1)


def test_a_film_is_cut_at_the_very_frame_where_the_picture_changes_though_frames_are_left_out(tmp_path):
    for codec, options in (("libx264", {"bf": "3"}), ("libx265", {"x265-params": "log-level=none:bframes=4"})):
        path = write_film(tmp_path / f"{codec}.mkv", slides(4, 53), codec=codec, options=options)
        found = decoded(path)
        assert bounds(found) == [(0, 2.12), (2.12, 4.24), (4.24, 6.36), (6.36, 8.48)]
        assert found[Ending][0].frames_decoded < 170, "half of the 212 frames need not be decoded"


def test_slides_that_are_held_without_repeated_frames_are_all_seen(tmp_path):
    frames, times = [slide(n) for n in range(5)], [0.0, 3.0, 9.0, 9.8, 30.0]
    found = decoded(write_film(tmp_path / "screen.mkv", [*frames, frames[-1]], at_seconds=[*times, 34.0]))
    at = np.concatenate([chunk.at_seconds for chunk in found[FrameChunk]])
    np.testing.assert_allclose(at[:5], times, atol=0.002)
    starts = [start for start, _ in bounds(found)]
    assert set(times) <= {round(start, 1) for start in starts}


def test_frames_keep_their_true_times_at_a_variable_rate(tmp_path):
    times = list(np.cumsum([0.0, *np.random.default_rng(3).uniform(0.02, 0.4, 60)]))
    path = write_film(tmp_path / "vfr.mp4", slides(1, 61), at_seconds=times, options={"bf": "0"})
    at = np.concatenate([chunk.at_seconds for chunk in decoded(path)[FrameChunk]])
    assert all(np.abs(np.array(times) - t).min() < 0.002 for t in at)
    assert np.diff(at).max() < 1.5


@pytest.mark.parametrize(("suffix", "start"), [("mkv", -1.0), ("ts", 100.0), ("mkv", 7.5), ("mp4", 5.0)])
def test_times_count_from_the_start_of_the_file(tmp_path, suffix, start):
    path = write_film(tmp_path / f"film.{suffix}", slides(2, 50), start_seconds=start, sound=tone(4.0),
                      sound_start_seconds=start, sound_codec="aac")  # fmt: skip
    found = decoded(path)
    np.testing.assert_allclose(bounds(found), [(0, 2), (2, 4)], atol=0.05)
    assert found[SoundChunk][0].start_seconds == pytest.approx(0, abs=0.07)


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_frames_are_turned_as_a_player_turns_them(tmp_path, degrees):
    frame = flat(30, 30, 30)
    frame[:45, :80] = (220, 20, 20)  # red stands top left in the coded frame
    path = write_film(tmp_path / "turned.mp4", [frame] * 25, rotate=degrees)
    found = decoded(path)
    (chunk,) = found[FrameChunk]
    expected = np.rot90(frame, degrees // 90)
    assert (found[Facts][0].width, found[Facts][0].height) == expected.shape[1::-1]
    shown = chunk.pixels[0]
    for row, column in ((0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8)):
        ours = shown[int(row * shown.shape[0]), int(column * shown.shape[1])].astype(int)
        np.testing.assert_allclose(ours, expected[int(row * len(expected)), int(column * expected.shape[1])], atol=20)


def test_pixels_come_out_square(tmp_path):
    path = write_film(tmp_path / "wide.mp4", [slide(0)] * 10, aspect=Fraction(3, 2))
    found = decoded(path)
    assert (found[Facts][0].width, found[Facts][0].height) == (240, 90)
    assert found[FrameChunk][0].pixels.shape[1:] == (64, 170, 3)


def test_the_shorter_side_is_what_was_asked_for_and_strips_stay_small(tmp_path):
    for width, height, shape in ((90, 160, (114, 64)), (1920, 32, (8, 512)), (64, 64, (64, 64))):
        path = write_film(tmp_path / f"{width}.mp4", [flat(90, 90, 90, width, height)] * 3)
        assert decoded(path)[FrameChunk][0].pixels.shape[1:3] == shape


def test_a_long_shot_is_divided_and_every_part_has_its_frames(tmp_path):
    sampling = replace(SAMPLING, longest_shot_seconds=2.0, interval_seconds=0.5)
    found = decoded(write_film(tmp_path / "static.mp4", slides(1, 25 * 7)), sampling)
    assert bounds(found) == [(0, 2), (2, 4), (4, 5.5), (5.5, 7)]
    for chunk in found[FrameChunk]:
        assert [shot.last - shot.first for shot in chunk.shots] == [4, 4, 4, 2]


def test_chunks_join_to_what_one_go_gives(tmp_path):
    path = write_film(tmp_path / "film.mp4", slides(5, 40), sound=tone(8.0, hertz=300))
    whole = decoded(path, replace(SAMPLING, interval_seconds=0.3))
    parts = decoded(path, replace(SAMPLING, interval_seconds=0.3, chunk_seconds=1.0))
    assert len(parts[FrameChunk]) == 5
    assert bounds(whole) == bounds(parts)
    for name in ("pixels", "at_seconds"):
        joined = np.concatenate([getattr(chunk, name) for chunk in parts[FrameChunk]])
        np.testing.assert_array_equal(joined, getattr(whole[FrameChunk][0], name))
    for chunk in parts[FrameChunk]:
        assert chunk.shots[-1].last == len(chunk.pixels)
    np.testing.assert_array_equal(
        np.concatenate([chunk.samples for chunk in parts[SoundChunk]]), whole[SoundChunk][0].samples
    )


def test_only_what_is_wanted_is_decoded(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(1, 50), sound=tone(2.0), lines=[(0.5, 1.0, "hello")],
                      text_codec="subrip")  # fmt: skip
    wanted = {
        Modality.VISUAL: {FrameChunk},
        Modality.AUDIO: {SoundChunk},
        Modality.SPEECH: {SoundChunk, Transcript},
        Modality.TEXT: {Transcript},
    }
    for modality, kinds in wanted.items():
        found = decoded(path, want=frozenset({modality}))
        assert {kind for kind, items in found.items() if items} == {Facts, Ending} | kinds
        assert found[Ending][0].damage is None
        assert found[Facts][0].duration_seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mov_text"), ("a.mkv", "subrip"), ("a.webm", "webvtt"),
                                             ("b.mkv", "webvtt")])  # fmt: skip
def test_embedded_subtitles_come_with_their_times_and_language(tmp_path, name, codec):
    lines = [(0.5, 1.25, "Guten <i>Tag</i>"), (1.5, 1.9, "zwei\nZeilen &amp; mehr")]
    path = write_film(tmp_path / name, slides(1, 50), lines=lines, text_codec=codec, language="ger",
                      codec="libvpx" if name.endswith("webm") else "libx264")  # fmt: skip
    (transcript,) = decoded(path)[Transcript]
    assert transcript.lines == (Line(0.5, 1.25, "Guten Tag"), Line(1.5, 1.9, "zwei Zeilen & mehr"))
    assert (transcript.track, transcript.language) == ("s:0", "ger")


def test_sound_that_starts_late_stands_where_it_is_heard(tmp_path):
    path = write_film(tmp_path / "late.mkv", slides(1, 100), sound=tone(2.0), sound_codec="flac",
                      sound_start_seconds=1.5)  # fmt: skip
    (chunk,) = decoded(path)[SoundChunk]
    assert chunk.start_seconds == pytest.approx(1.5, abs=0.01)


def test_a_film_without_sound_and_one_of_a_single_frame(tmp_path):
    assert decoded(write_film(tmp_path / "silent.mp4", slides(1, 25)))[SoundChunk] == []
    found = decoded(write_film(tmp_path / "one.mp4", [slide(0)]))
    assert bounds(found) == [(0, 0.04)]
    assert len(found[FrameChunk][0].pixels) == 1


def test_a_change_of_size_in_the_middle_starts_a_shot(tmp_path):
    small, large = (write_film(tmp_path / f"{w}.ts", [slide(1, w, h)] * 50, codec="mpeg2video", start_seconds=at)
                    for w, h, at in ((160, 90, 1.0), (128, 128, 3.0)))  # fmt: skip
    (tmp_path / "both.ts").write_bytes(small.read_bytes() + large.read_bytes())
    found = decoded(tmp_path / "both.ts")
    assert [chunk.pixels.shape[1:3] for chunk in found[FrameChunk]] == [(64, 114), (64, 64)]


def test_tags_of_the_container_are_facts(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(1, 5), tags={"TITLE": "The Harbour", "comment": "grain\nand salt"})
    facts = probe(path)
    assert facts.metadata["title"] == "The Harbour"
    assert facts.metadata["comment"] == "grain\nand salt"
    assert (facts.container, facts.video_codec, facts.frames_per_second) == ("matroska", "h264", 25)


def test_a_codec_that_is_not_on_the_list_is_refused_by_name(tmp_path):
    path = write_film(tmp_path / "film.avi", slides(1, 5), codec="magicyuv", pix_fmt="gbrp")
    with pytest.raises(MediaError, match="unsupported_codec:magicyuv"):
        list(decode(path, SAMPLING))


def test_sound_is_kept_when_only_the_pictures_cannot_be_decoded(tmp_path):
    path = write_film(tmp_path / "film.avi", slides(1, 50), codec="magicyuv", pix_fmt="gbrp", sound=tone(2.0),
                      sound_codec="pcm_s16le")  # fmt: skip
    found = decoded(path)
    assert found[SoundChunk]
    assert found[Ending][0].damage == "unsupported_codec:magicyuv"


def test_frames_and_streams_beyond_the_limits_are_refused(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(1, 5), sound=tone(0.2))
    with pytest.raises(MediaError, match="too_large:160x90"):
        list(decode(path, SAMPLING, limits=Limits(frame_pixels=160 * 90 - 1)))
    with pytest.raises(MediaError, match="too_many_streams:2"):
        list(decode(path, SAMPLING, limits=Limits(streams=1)))


def test_a_file_cut_short_gives_what_came_before_and_says_where(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(5, 50), sound=tone(10.0), sound_codec="flac",
                      options={"g": "25"})  # fmt: skip
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = decoded(path)
    kind, _, at = found[Ending][0].damage.partition(":")
    assert kind == "truncated_at"
    assert 1 < float(at) < 9
    assert bounds(found)[0] == (0, 2)
    assert bounds(found)[-1][1] <= float(at) + 0.1


def test_damaged_packets_are_counted_and_broken_frames_are_not_kept(tmp_path):
    path = write_film(tmp_path / "film.mkv", slides(4, 50), options={"g": "25", "bf": "0"})
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + 400] = bytes(400)
    path.write_bytes(data)
    found = decoded(path)
    assert found[Ending][0].damage is not None
    for chunk in found[FrameChunk]:
        for frame in chunk.pixels:
            errors = [np.abs(frame[::8, ::8].astype(int) - slide(n, 114, 64)[::8, ::8]).mean() for n in range(4)]
            assert min(errors) < 25


def test_a_cover_picture_does_not_make_a_film(tmp_path):
    path = write_sound(tmp_path / "song.mp3", tone(2.0), "libmp3lame", tags={"title": "Song", "artist": "Choir"})
    facts = probe(path)
    assert (facts.media, facts.metadata["title"], facts.metadata["artist"]) == (Media.AUDIO, "Song", "Choir")
    covered = _with_cover(path.read_bytes())
    (tmp_path / "covered.mp3").write_bytes(covered)
    found = decoded(tmp_path / "covered.mp3")
    assert (found[Facts][0].media, found[FrameChunk]) == (Media.AUDIO, [])
    assert found[Ending][0].damage is None


def _with_cover(song: bytes) -> bytes:
    """Return the song with an ID3 tag that holds a cover picture."""
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.fromarray(slide(0)).save(picture, "JPEG")
    body = b"\0image/jpeg\0\x03\0" + picture.getvalue()
    frame = b"APIC" + len(body).to_bytes(4) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame + song[song.index(b"\xff\xfb") :]

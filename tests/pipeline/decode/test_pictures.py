"""Still pictures: upright, in the right colours, within limits."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.decode import Limits, decode, probe
from pipeline.errors import MediaError
from pipeline.media import Ending, Facts, FrameChunk, Media, Modality, Sampling, Shot
from tests.pipeline.decode.media import slide, tone, write_sound

SAMPLING = Sampling(size_px=60)
RED, BLUE = (220, 30, 30), (30, 30, 220)


def picture(width: int = 120, height: int = 80) -> Image.Image:
    """Return a picture that is red on its left half and blue on its right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def decoded(path: Path) -> tuple[Facts, np.ndarray]:
    facts, chunk, ending = decode(path, SAMPLING)
    assert isinstance(facts, Facts)
    assert facts.media is Media.IMAGE
    assert isinstance(chunk, FrameChunk)
    assert chunk.shots == (Shot(0.0, 0.0, 0, len(chunk.pixels)),)
    assert chunk.at_seconds.tolist() == [0.0] * len(chunk.pixels)
    assert ending == Ending(None, 0.0, 1)
    return facts, chunk.pixels


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.bmp"])
def test_every_format_gives_its_picture(tmp_path, name):
    picture().save(tmp_path / name)
    facts, (frame,) = decoded(tmp_path / name)
    assert (facts.width, facts.height) == (120, 80)
    assert frame.shape == (60, 90, 3)
    np.testing.assert_allclose(frame[30, 10], RED, atol=12)
    np.testing.assert_allclose(frame[30, 80], BLUE, atol=12)


@pytest.mark.parametrize("mode", ["P", "L", "1", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"])
def test_every_mode_gives_what_a_viewer_shows(tmp_path, mode):
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "I", "F", "YCbCr", "LAB") else "a.png")
    if mode in ("I;16", "I", "F"):
        grey = np.tile(np.linspace(0, 65535, 120), (80, 1))
        Image.fromarray(grey.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])).save(path)
    elif mode == "LAB":
        from PIL import ImageCms

        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        ImageCms.profileToProfile(picture(), *profiles, outputMode="LAB").save(path)
    else:
        picture().convert(mode).save(path)
    _, (frame,) = decoded(path)
    if mode in ("P", "CMYK", "YCbCr"):
        np.testing.assert_allclose(frame[30, 10], RED, atol=12)
    elif mode in ("I;16", "I", "F"):
        np.testing.assert_allclose(frame[30, ::10, 0], np.linspace(0, 255, 90)[::10], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(tmp_path / "a.jpg", exif=exif, quality=95)
    facts, (frame,) = decoded(tmp_path / "a.jpg")
    assert (facts.width, facts.height) == ((80, 120) if orientation > 4 else (120, 80))
    height, width = frame.shape[:2]
    assert (height, width) == ((90, 60) if orientation > 4 else (60, 90))
    red = {1: (0.5, 0.1), 2: (0.5, 0.9), 3: (0.5, 0.9), 4: (0.5, 0.1), 5: (0.1, 0.5), 6: (0.1, 0.5), 7: (0.9, 0.5),
           8: (0.9, 0.5)}[orientation]  # fmt: skip
    np.testing.assert_allclose(frame[int(red[0] * height), int(red[1] * width)], RED, atol=12)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_transparency_is_shown_on_a_light_and_on_a_dark_ground(tmp_path, name):
    cut_out = picture().convert("RGBA")
    alpha = Image.new("L", cut_out.size, 255)
    alpha.paste(0, (60, 0, 120, 80))
    cut_out.putalpha(alpha)
    options = {"lossless": True} if name == "a.webp" else {}
    cut_out.save(tmp_path / name, **options)
    _, (light, dark) = decoded(tmp_path / name)
    for frame, ground in ((light, 204), (dark, 89)):
        np.testing.assert_allclose(frame[30, 10], RED, atol=12)
        np.testing.assert_allclose(frame[30, 80], [ground] * 3, atol=2)


def test_a_soft_edge_has_no_fringe_of_what_is_transparent(tmp_path):
    pixels = np.zeros((80, 120, 4), np.uint8)
    pixels[:, :60] = (255, 255, 255, 255)  # the transparent half is black underneath
    Image.fromarray(pixels).save(tmp_path / "a.png")
    _, (light, _) = decoded(tmp_path / "a.png")
    assert light.min() >= 200


def test_full_alpha_is_one_frame(tmp_path):
    picture().convert("RGBA").save(tmp_path / "a.png")
    assert len(decoded(tmp_path / "a.png")[1]) == 1


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.fromarray(slide(n)) for n in range(4)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    _, (frame,) = decoded(tmp_path / name)
    errors = [np.abs(frame[::6, ::6].astype(int) - slide(n, 106, 60)[::6, ::6]).mean() for n in range(4)]
    assert np.argmin(errors) == 0


def test_a_large_jpeg_is_scaled_while_it_is_decoded_and_looks_the_same(tmp_path):
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).resize(
        (3000, 2000), Image.Resampling.BICUBIC
    )
    noise.save(tmp_path / "a.jpg", quality=92)
    _, (frame,) = decoded(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as plain:
        plain.load()
        expected = np.asarray(plain.resize((90, 60), Image.Resampling.BICUBIC), int)
    assert np.abs(frame.astype(int) - expected).mean() < 2


def test_exif_and_text_chunks_are_facts_but_places_are_not(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x010F], exif[0x0110] = "Fishing boats", "A. Painter", "Canon", "Canon EOS 5D"
    exif[0x9C9B] = "Harbour".encode("utf-16-le")
    exif.get_ifd(0x8769)[0x9003] = "2024:05:17 18:30:01"
    exif.get_ifd(0x8825)[1] = "N"
    picture().save(tmp_path / "a.jpg", exif=exif)
    assert probe(tmp_path / "a.jpg").metadata == {
        "description": "Fishing boats", "artist": "A. Painter", "camera": "Canon EOS 5D", "title": "Harbour",
        "date": "2024-05-17T18:30:01",
    }  # fmt: skip
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Title", "Quay")
    chunks.add_itxt("Description", "Kai am Abend – schön")
    picture().save(tmp_path / "a.png", pnginfo=chunks)
    assert probe(tmp_path / "a.png").metadata == {"title": "Quay", "description": "Kai am Abend – schön"}


def test_a_picture_that_claims_too_many_pixels_is_not_decoded(tmp_path):
    picture().save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="too_large:120x80"):
        list(decode(tmp_path / "a.png", SAMPLING, limits=Limits(picture_pixels=120 * 80 - 1)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tiff"])
def test_half_a_picture_is_an_error(tmp_path, name):
    whole = io.BytesIO()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(whole, name[2:].replace("jpg", "jpeg"))
    (tmp_path / name).write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(MediaError) as error:
        list(decode(tmp_path / name, SAMPLING))
    assert error.value.reason in ("truncated", "unreadable")


def test_the_extension_does_not_matter(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "film.mp4")
    assert probe(tmp_path / "film.mp4").media is Media.IMAGE
    write_sound(tmp_path / "b.wav", tone(0.5), "pcm_s16le").rename(tmp_path / "b.jpg")
    assert probe(tmp_path / "b.jpg").media is Media.AUDIO


def test_pictures_are_not_decoded_where_only_sound_is_wanted(tmp_path):
    picture().save(tmp_path / "a.png")
    assert len(list(decode(tmp_path / "a.png", SAMPLING, want=frozenset({Modality.SPEECH})))) == 2

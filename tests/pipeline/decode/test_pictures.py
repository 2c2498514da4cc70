"""Still pictures: upright, in the right colours, within limits."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
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


def encoded(codec: str, pix_fmt: str, pixels: np.ndarray) -> bytes:
    """Return a picture file of 16-bit samples, which Pillow cannot write."""
    context, frame = av.CodecContext.create(codec, "w"), av.VideoFrame.from_ndarray(pixels, format=pix_fmt)
    context.width, context.height, context.pix_fmt, context.time_base = frame.width, frame.height, pix_fmt, Fraction(1)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


@pytest.mark.parametrize(("codec", "end"), [("png", "be"), ("tiff", "le")])
@pytest.mark.parametrize("alpha", [False, True])
def test_pictures_of_sixteen_bits_keep_their_colours_and_their_alpha(tmp_path, codec, end, alpha):
    wide = np.array(picture().convert("RGBA"), np.uint16) * 257
    wide[:, 100:, 3] = 0
    pixels = wide if alpha else np.ascontiguousarray(wide[..., :3])
    (tmp_path / "a").write_bytes(encoded(codec, f"rgb{'a64' if alpha else '48'}{end}", pixels))
    _, frames = decoded(tmp_path / "a")
    assert len(frames) == 1 + alpha
    for frame, ground in zip(frames, (204, 89), strict=False):
        np.testing.assert_allclose(frame[30, 10], RED, atol=2)
        np.testing.assert_allclose(frame[30, 60], BLUE, atol=2)
        np.testing.assert_allclose(frame[30, 85], [ground] * 3 if alpha else BLUE, atol=2)


@pytest.mark.parametrize(("codec", "end"), [("png", "be"), ("tiff", "le")])
def test_grey_of_sixteen_bits_is_scaled_to_eight_even_where_it_is_dark(tmp_path, codec, end):
    grey = np.tile(np.linspace(0, 200 * 257, 120), (80, 1)).astype(np.uint16)
    (tmp_path / "a").write_bytes(encoded(codec, f"gray16{end}", grey))
    (frame,) = decoded(tmp_path / "a")[1]
    np.testing.assert_allclose(frame[30, ::10, 1], np.linspace(0, 200, 90)[::10], atol=3)
    (tmp_path / "b").write_bytes(encoded(codec, f"gray16{end}", grey // 256))
    assert decoded(tmp_path / "b")[1].max() <= 1


@pytest.mark.parametrize(("scale", "brightest"), [(1.0, 255), (0.5, 128), (40.0, 255)])
def test_floats_are_white_at_one_or_at_their_brightest(tmp_path, scale, brightest):
    values = np.tile(np.linspace(0, scale, 120), (80, 1)).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    Image.fromarray(values).save(tmp_path / "a.tiff")
    (frame,) = decoded(tmp_path / "a.tiff")[1]
    np.testing.assert_allclose(frame[30, ::10, 1], np.linspace(0, brightest, 90)[::10], atol=4)


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "1"])
def test_transparency_of_every_kind_shows_the_ground(tmp_path, mode):
    pixels = Image.new("L", (120, 80), 255)
    pixels.paste(0, (60, 0, 120, 80))
    if mode == "LA":
        Image.merge("LA", (pixels, pixels)).save(tmp_path / "a.png")
    elif mode == "P":
        pixels.convert("P").save(tmp_path / "a.png", transparency=bytes([0] + [255] * 255))
    else:
        pixels.convert(mode).save(tmp_path / "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    _, (light, dark) = decoded(tmp_path / "a.png")
    np.testing.assert_allclose(light[30, [10, 80], 0], [255, 204], atol=2)
    np.testing.assert_allclose(dark[30, [10, 80], 0], [255, 89], atol=2)


def test_a_transparent_level_of_sixteen_bit_grey_is_no_error(tmp_path):
    whole = encoded("png", "gray16be", np.full((80, 120), 40_000, np.uint16))
    chunk = b"tRNS" + (40_000).to_bytes(2)
    at = whole.index(b"IDAT") - 4
    (tmp_path / "a").write_bytes(whole[:at] + (2).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + whole[at:])
    np.testing.assert_allclose(decoded(tmp_path / "a")[1], 156, atol=1)


def test_a_press_jpeg_is_not_its_own_negative(tmp_path):
    picture().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()[:200]  # whose CMYK is inverted
    (frame,) = decoded(tmp_path / "a.jpg")[1]
    np.testing.assert_allclose(frame[30, 10], RED, atol=12)
    np.testing.assert_allclose(frame[30, 80], BLUE, atol=12)


def profile(red, green, blue, gamma: float, name: bytes = b"wide") -> bytes:
    """Return an ICC profile, version 2: three primaries (X and Z beside Y, in D50) and one gamma."""

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(80 - len(name)),
            b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"rXYZ": xyz(red),
            b"gXYZ": xyz(green), b"bXYZ": xyz(blue), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}  # fmt: skip
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", at + len(body), b"lcms", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + xyz((0.9642, 1.0, 0.8249))[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


@pytest.mark.parametrize(("primaries", "stored"), [(DISPLAY_P3, (201, 57, 48)), (ADOBE_RGB, (189, 35, 35))])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_wide_colours_come_out_as_their_profile_says(tmp_path, name, primaries, stored):
    """Both triples are sRGB's (220, 30, 30), worked out from the primaries and a gamma of 2.2."""
    wide = Image.new("RGB", (120, 80), stored)
    wide.save(tmp_path / name, icc_profile=profile(*primaries, 2.2), quality=98)
    np.testing.assert_allclose(decoded(tmp_path / name)[1][0, 30, 40], RED, atol=5)


def test_wide_colours_are_converted_beside_transparency_too(tmp_path):
    wide = Image.new("RGBA", (120, 80), (201, 57, 48, 255))
    wide.paste((0, 0, 0, 0), (60, 0, 120, 80))
    wide.save(tmp_path / "a.png", icc_profile=profile(*DISPLAY_P3, 2.2))
    light, _ = decoded(tmp_path / "a.png")[1]
    np.testing.assert_allclose(light[30, 10], RED, atol=5)
    np.testing.assert_allclose(light[30, 80], 204, atol=2)


def test_grey_follows_its_profile_too(tmp_path):
    linear = profile(*DISPLAY_P3, 1.0).replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC")
    Image.new("L", (120, 80), 128).save(tmp_path / "a.tiff", icc_profile=linear)
    np.testing.assert_allclose(decoded(tmp_path / "a.tiff")[1], 188, atol=2)


@pytest.mark.parametrize("broken", ["noise", "half", "of grey", "too large"])
def test_a_profile_that_is_unfit_is_ignored(tmp_path, broken):
    sound = profile(*DISPLAY_P3, 2.2)
    unfit = {"noise": bytes(range(256)) * 4, "half": sound[: len(sound) // 2],
             "of grey": sound.replace(b"mntrRGB ", b"mntrGRAY"), "too large": sound + bytes(2**22)}[broken]  # fmt: skip
    picture().save(tmp_path / "a.tiff", icc_profile=unfit)
    np.testing.assert_allclose(decoded(tmp_path / "a.tiff")[1][0, 30, 10], RED, atol=2)


def test_a_png_may_have_a_profile_of_megabytes(tmp_path):
    picture().save(tmp_path / "a.png", icc_profile=profile(*DISPLAY_P3, 2.2) + bytes(2**21))
    assert decoded(tmp_path / "a.png")[1][0, 30, 10, 0] > 230  # more of a red than it was in the smaller space


@pytest.mark.parametrize("name", ["a.tiff", "a.png", "a.webp", "a.avif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_other_formats_are_turned_too(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(tmp_path / name, exif=exif, quality=95)
    facts, (frame,) = decoded(tmp_path / name)
    assert (facts.width, facts.height) == ((80, 120) if orientation == 6 else (120, 80))
    assert frame.shape[:2] == ((90, 60) if orientation == 6 else (60, 90))
    red = frame[8, 30] if orientation == 6 else frame[30, 80]
    np.testing.assert_allclose(red, RED, atol=14)


def test_a_large_jpeg_is_turned_after_it_was_scaled_while_decoded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    picture(3000, 2000).save(tmp_path / "a.jpg", exif=exif)
    facts, (frame,) = decoded(tmp_path / "a.jpg")
    assert (facts.width, facts.height, frame.shape) == (2000, 3000, (90, 60, 3))
    np.testing.assert_allclose(frame[80, 30], RED, atol=12)


def test_of_several_pages_the_first_is_taken(tmp_path):
    pages = [picture(), Image.new("RGB", (50, 50), (0, 255, 0))]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    facts, (frame,) = decoded(tmp_path / "a.tiff")
    assert (facts.width, facts.height) == (120, 80)
    np.testing.assert_allclose(frame[30, 10], RED, atol=2)

"""What a film's frames look like when they leave the decoder: whatever they were coded as, ordinary RGB."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from pipeline.decode import decode, light
from pipeline.decode.keeper import Keeper
from pipeline.decode.pixels import Scaler
from pipeline.media import FrameChunk, Sampling
from tests.pipeline.decode.media import write_film

SIZE_PX = 64
BARS = [(255, 255, 255), (220, 220, 30), (30, 200, 200), (0, 255, 0), (200, 30, 200), (255, 0, 0), (30, 30, 220),
        (0, 0, 0), (128, 128, 128)]  # fmt: skip
KR_KB = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
TAGS = {"601": 6, "709": 1, "2020": 9}
TOP_FIRST = 1 << 18 | 1 << 29
"""FFmpeg's encoder flags for interlaced DCT and motion."""


def codes(rgb, matrix: str, bits: int, *, full: bool) -> list[int]:
    """Return Y'CbCr as BT.601, 709 and 2020 define it."""
    kr, kb = KR_KB[matrix]
    red, green, blue = (level / 255 for level in rgb)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
    if full:
        top = 2**bits - 1
        return [round(luma * top), *(min(top, round(c * top + 2 ** (bits - 1))) for c in chroma)]
    return [round((16 + 219 * luma) * 2 ** (bits - 8)), *(round((128 + 224 * c) * 2 ** (bits - 8)) for c in chroma)]


def filled(name: str, values: list[list[int]]) -> av.VideoFrame:
    """Return a planar frame of vertical bars, each of these values."""
    frame = av.VideoFrame(32 * len(values), 128, name)
    for index, plane in enumerate(frame.planes):
        dtype = np.dtype(np.uint8 if frame.format.components[index].bits <= 8 else "<u2")
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[:, : plane.width] = np.repeat([value[index] for value in values], plane.width // len(values))
        plane.update(rows.tobytes())
    return frame


def scaled(frame: av.VideoFrame, size_px: int = SIZE_PX) -> np.ndarray:
    scaler = Scaler(size_px)
    scaler.reshaped(frame, 1.0)
    return scaler.scale(frame)


def middles(picture: np.ndarray, count: int = len(BARS)) -> np.ndarray:
    """Return the colour in the middle of each bar, int [count, 3]."""
    height, width = picture.shape[:2]
    return picture[height // 2, [round((k + 0.5) * width / count) for k in range(count)]].astype(int)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le"])
@pytest.mark.parametrize("matrix", ["601", "709", "2020"])
@pytest.mark.parametrize("full", [False, True])
def test_colour_bars_come_out_right_in_every_matrix_range_and_depth(name, matrix, full):
    bits = av.VideoFormat(name).components[0].bits
    frame = filled(name, [codes(bar, matrix, bits, full=full) for bar in BARS])
    frame.colorspace, frame.color_range = TAGS[matrix], ColorRange.JPEG if full else ColorRange.MPEG
    np.testing.assert_allclose(middles(scaled(frame)), BARS, atol=3)


def test_a_format_that_means_full_range_needs_no_tag():
    frame = filled("yuvj420p", [codes(bar, "601", 8, full=True) for bar in BARS])
    np.testing.assert_allclose(middles(scaled(frame)), BARS, atol=3)


@pytest.mark.parametrize(("height", "matrix"), [(576, "601"), (720, "709")])
def test_a_film_that_does_not_name_its_matrix_has_the_usual_one_of_its_size(height, matrix):
    small = filled("yuv444p", [codes(bar, matrix, 8, full=False) for bar in BARS])
    frame = av.VideoFrame.from_ndarray(np.repeat(small.to_ndarray(), 6, axis=1)[:, :height], format="yuv444p")
    np.testing.assert_allclose(middles(scaled(frame)), BARS, atol=3)


@pytest.mark.parametrize("name", ["rgb24", "bgr24", "gbrp", "rgba", "gbrp10le", "rgb48le"])
def test_films_in_rgb_keep_their_levels(name):
    bars = np.repeat(np.array(BARS, np.uint8)[None], 128, 0).repeat(32, 1)
    if name == "gbrp10le":
        frame = filled(name, [[round(bar[index] * 1023 / 255) for index in (1, 2, 0)] for bar in BARS])
    elif name == "rgb48le":
        frame = av.VideoFrame.from_ndarray(bars.astype(np.uint16) * 257, format=name)
    else:
        frame = av.VideoFrame.from_ndarray(bars, format="rgb24").reformat(format=name)
    np.testing.assert_allclose(middles(scaled(frame)), BARS, atol=2)


@pytest.mark.parametrize("name", ["gray", "gray10le"])
@pytest.mark.parametrize("full", [False, True])
def test_grey_films_have_their_range_too(name, full):
    bits, greys = av.VideoFormat(name).components[0].bits, [(level,) * 3 for level in (255, 192, 128, 64, 0)]
    frame = filled(name, [codes(grey, "709", bits, full=full)[:1] for grey in greys])
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    np.testing.assert_allclose(middles(scaled(frame), 5), greys, atol=2)


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le"])
def test_frames_are_scaled_as_encoders_scale_and_no_darker(name):
    ground = np.random.default_rng(0).integers(0, 256, (45, 80, 1), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(ground.repeat(3, 2)).resize((1280, 720), Image.Resampling.BICUBIC))
    expected = np.asarray(Image.fromarray(whole).resize((462, 260), Image.Resampling.BILINEAR), int)
    tagged = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
    errors = scaled(av.VideoFrame.from_ndarray(whole).reformat(format=name, **tagged), 260) - expected
    assert np.abs(errors).mean() < 1
    assert abs(errors.mean()) < 0.2


def panned(at: int, width: int, height: int) -> np.ndarray:
    """Return uint8 [H, W, 3]: grey blocks (subsampled chroma would mix the fields), `at` pixels further right."""
    blocks = np.random.default_rng(3).integers(30, 226, (1 + height // 40, 40, 1), dtype=np.uint8)
    return blocks.repeat(40, 0).repeat(40, 1).repeat(3, 2)[:height, at : at + width]


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    frame = first.copy()
    frame[1::2] = second[1::2]
    return frame


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [("mpg", "mpeg2video", {"b": "30M"}), ("mp4", "libx264", {"x264-params": "tff=1", "qp": "12"})],
)
def test_an_interlaced_film_is_shown_without_combs(tmp_path, suffix, codec, options):
    width, height = 480, 360
    fields = [panned(20 * n, width, height) for n in range(16)]
    frames = [woven(*fields[n : n + 2]) for n in range(0, 16, 2)]

    def interlaced(container):
        container.streams.video[0].codec_context.flags |= TOP_FIRST

    path = write_film(tmp_path / f"a.{suffix}", frames, codec=codec, options=options, prepare=interlaced)
    with av.open(str(path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    kept = [c for c in decode(path, Sampling(size_px=180)) if isinstance(c, FrameChunk)]
    (at,), (picture,) = kept[0].at_seconds[:1], kept[0].pixels[:1]
    n = 2 * round(at * 25)
    assert picture.shape == (180, 240, 3)

    def error(expected):
        return np.abs(picture.astype(int) - scaled(av.VideoFrame.from_ndarray(expected), 180)).mean()

    assert error(fields[n]) < 3.5
    assert error(frames[n // 2]) > 2 * error(fields[n])


def test_progressive_frames_make_no_filter_graph():
    scaler, frame = Scaler(SIZE_PX), av.VideoFrame.from_ndarray(panned(0, 240, 160))
    scaler.reshaped(frame, 1.0)
    scaler.scale(frame)
    assert scaler._fields._graph is None


def hdr_code(nits: float, trc: ColorTrc) -> float:
    """Return the signal of a grey that a display of 1000 cd/m² shows at this light."""
    if trc == ColorTrc.SMPTE2084:
        return float(light.nits_to_pq(np.array(nits)))
    signals = np.linspace(0, 1, 100_001)
    return float(np.interp((nits / 1000) ** (1 / 1.2), light.hlg_to_scene(signals), signals))


NITS = [0, 1, 26, 100, 203, 400, 700, 1000]


@pytest.mark.parametrize("trc", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
def test_greys_of_high_range_keep_their_order_and_stand_where_a_display_would_show_them(trc):
    values = [codes((255 * hdr_code(nits, trc),) * 3, "2020", 10, full=False) for nits in NITS]
    frame = filled("yuv420p10le", values)
    frame.colorspace, frame.color_trc, frame.color_primaries = Colorspace.BT2020, trc, ColorPrimaries.BT2020
    greys = middles(scaled(frame), len(NITS))
    assert (np.ptp(greys, axis=1) <= 1).all()
    levels = dict(zip(NITS, greys[:, 1], strict=True))
    assert levels[0] == 0
    assert levels[1000] >= 254
    steps = np.diff(list(levels.values()))
    assert (steps >= 0).all()
    assert (steps[:5] >= 15).all()  # what is bright is still told from what is brighter
    assert levels[26] == pytest.approx(100, abs=3)  # a grey card of 18%, of 26 cd/m² beside white of 203 (BT.2408)
    assert levels[203] == pytest.approx(0.9 * 255, abs=3)


def test_the_formulas_give_the_values_that_their_standards_print():
    assert light.pq_to_nits(np.array([0.0, 0.5081, 0.5807, 0.7518, 1.0])) == pytest.approx(
        [0, 100, 203, 1000, 10_000], rel=2e-3, abs=1e-6
    )
    assert light.hlg_to_scene(np.array([0.0, 0.5, 0.75, 1.0])) == pytest.approx([0, 1 / 12, 0.265, 1], abs=1e-3)
    below = np.array([0.0, 1.0, 50.0, 90.0])
    assert light.tone_mapped(below) == pytest.approx(below, abs=0.03)
    assert (np.diff(light.tone_mapped(np.linspace(0, 1000, 2000))) > 0).all()


def test_a_red_of_wide_colour_that_a_screen_can_show_comes_out_as_that_red():
    to_2020 = np.linalg.inv(np.array(light._TO_BT709[9]))
    bt709 = np.array([(0.6, 0.1, 0.1), (0.1, 0.5, 0.1), (0.1, 0.1, 0.6)])
    nits = np.clip(bt709 @ to_2020.T, 0, None) * 90
    signals = light.nits_to_pq(nits)
    frame = filled("yuv444p10le", [codes(255 * signal, "2020", 10, full=False) for signal in signals])
    frame.colorspace, frame.color_trc, frame.color_primaries = 9, ColorTrc.SMPTE2084, ColorPrimaries.BT2020
    shown = bt709 * 90 / 203
    expected = 255 * (1.055 * shown ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(middles(scaled(frame), 3), expected, atol=4)


def test_wide_colour_of_standard_range_keeps_its_greys_and_gains_saturation():
    frame = filled("yuv444p10le", [codes(bar, "2020", 10, full=False) for bar in [(128,) * 3, (180, 60, 60)]])
    frame.colorspace, frame.color_trc, frame.color_primaries = 9, ColorTrc.BT2020_10, ColorPrimaries.BT2020
    grey, red = middles(scaled(frame), 2)
    np.testing.assert_allclose(grey, 128, atol=1)
    assert red[0] > 195
    assert red[1] < 60


@pytest.mark.parametrize("trc", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
def test_a_film_of_high_range_looks_as_its_scene_does(tmp_path, trc):
    levels = [26, 100, 203, 600]
    frame = filled("yuv420p10le", [codes((255 * hdr_code(n, trc),) * 3, "2020", 10, full=False) for n in levels])
    name = {ColorTrc.SMPTE2084: "smpte2084", ColorTrc.ARIB_STD_B67: "arib-std-b67"}[trc]
    params = f"log-level=none:colorprim=bt2020:transfer={name}:colormatrix=bt2020nc:range=limited"
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        video = out.add_stream("libx265", rate=25, options={"x265-params": params, "crf": "8"})
        video.width, video.height, video.pix_fmt = frame.width, frame.height, frame.format.name
        for n in range(20):
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    chunks = [c for c in decode(tmp_path / "a.mp4", Sampling(size_px=SIZE_PX)) if isinstance(c, FrameChunk)]
    greys = middles(chunks[0].pixels[0], len(levels))
    np.testing.assert_allclose(greys, np.array([100, 186, 229, 254])[:, None].repeat(3, 1), atol=5)


def test_a_film_of_standard_range_does_not_pass_the_tone_curve(monkeypatch):
    def refuse(*_):
        raise AssertionError("tone-mapped")

    monkeypatch.setattr(light, "to_srgb", refuse)
    for trc in (ColorTrc.BT709, ColorTrc.UNSPECIFIED, ColorTrc.SMPTE170M, ColorTrc.BT2020_10):
        frame = filled("yuv420p", [codes(bar, "709", 8, full=False) for bar in BARS])
        frame.colorspace, frame.color_trc, frame.color_primaries = 1, trc, ColorPrimaries.BT709
        np.testing.assert_allclose(middles(scaled(frame)), BARS, atol=3)


def test_a_frame_of_another_shape_after_a_gap_answers_the_targets_before_it():
    keeper = Keeper(Sampling(size_px=SIZE_PX), 1.0, keeps_at_cuts=False)
    narrow, wide = (av.VideoFrame.from_ndarray(np.zeros((96, width, 3), np.uint8), "rgb24") for width in (96, 192))
    chunks = []
    for target, at, frame in ((0.0, 0.0, narrow), (4.0, 5.0, wide), (6.0, 6.0, wide)):
        keeper.aim([target])
        chunks += keeper.show(at, frame)
        keeper.leave()
    chunks += keeper.finish(7.0)  # a piece ends, and the next begins with another shape
    keeper.aim([7.0])
    chunks += [*keeper.show(7.0, narrow), *keeper.finish(8.0)]
    assert [(*chunk.pixels.shape[1:3], chunk.at_seconds.tolist()) for chunk in chunks] == [
        (64, 64, [0.0]),
        (64, 128, [5.0, 6.0]),
        (64, 64, [7.0]),
    ]

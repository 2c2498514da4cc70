"""What is written in frames: titles, captions, signs. PP-OCRv4, run by RapidOCR on ONNX Runtime.

One network finds lines of text, another reads them. It knows English and Chinese; other languages in Latin letters lose
their accents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import processors, weights
from encoders.packages import MissingPackageError, locate, require

SIZE_PX = 480
"""Of characters drawn over pictures up to 0.6% are wrong at this size, up to 2.2% at 260 px (benchmarks/encode_ocr)."""
SURE = 0.6
"""What the reader must be sure of a line; of textures it reads letters with less."""
LEAST_LETTERS = 2
"""Letters and digits of a line: single ones it reads out of textures too, and is sure of them."""
BLANK = 0.01
"""A blank that is so probable between two letters is one; where there is none it was below 0.001."""
_DETECTION_PX = 736
"""The shorter side that lines are looked for at: what its network was trained for. Smaller frames are enlarged."""
_SETTINGS = f"sure={SURE} letters={LEAST_LETTERS} blank={BLANK} detection={_DETECTION_PX} size={SIZE_PX}"


@dataclass(frozen=True)
class Line:
    """A line of text, and the upright rectangle around it in pixels."""

    text: str
    left: float
    top: float
    bottom: float


class OnScreenText:
    """Frames into the words that are written in them. Weights load on first use."""

    track = "ocr"
    size_px = SIZE_PX

    def __init__(self, threads: int = 0) -> None:
        self.name = f"ocr-ppocr4-{weights.fingerprint(weights.RAPIDOCR, settings=_SETTINGS)}"
        self._threads = threads

    @cached_property
    def _engine(self) -> Any:
        paths = {name.rpartition("/")[2]: str(path) for name, path in locate(weights.RAPIDOCR).items()}
        from rapidocr_onnxruntime import RapidOCR

        engine = RapidOCR(
            det_model_path=paths["ch_PP-OCRv4_det_infer.onnx"],
            rec_model_path=paths["ch_PP-OCRv4_rec_infer.onnx"],
            cls_model_path=paths["ch_ppocr_mobile_v2.0_cls_infer.onnx"],
            det_limit_side_len=_DETECTION_PX,
            use_cls=False,  # which says whether a line stands on its head: on a screen none does
            text_score=SURE,
            intra_op_num_threads=self._threads or processors.usable(),
        )
        engine.text_rec.postprocess_op = Spelling(engine.text_rec.postprocess_op.character)
        return engine

    def read_frames(self, frames: NDArray[np.uint8]) -> list[str]:
        """Return the text in each frame of uint8 [N, H, W, 3], RGB, in reading order; empty where none is found."""
        return [self._read(frame) for frame in frames]

    def _read(self, frame: NDArray[np.uint8]) -> str:
        found, _ = self._engine(np.ascontiguousarray(frame[..., ::-1]))  # it wants BGR
        lines = []
        for corners, text, _ in found or ():
            xs, ys = np.asarray(corners, float).T
            if sum(letter.isalnum() for letter in text) >= LEAST_LETTERS:
                lines.append(Line(text.strip(), float(xs.min()), float(ys.min()), float(ys.max())))
        return " ".join(line.text for line in in_reading_order(lines))


class Spelling:
    """What the network sees in each column of a line, as text: a connectionist temporal classification, read greedily.

    Blanks are put where they are only a little probable too: the network, made for Chinese, leaves most of them out.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        """Take the network's characters; the first stands for none."""
        self._characters, self._blank = characters, characters.index(" ")

    def __call__(self, columns: NDArray[np.float32], *_: Any, **__: Any) -> list[tuple[str, float]]:
        """Return text and mean probability for each line of float32 [N, columns, characters]; as RapidOCR asks."""
        return [self._spelled(line) for line in columns]

    def _spelled(self, line: NDArray[np.float32]) -> tuple[str, float]:
        best = line.argmax(-1)
        at = np.flatnonzero((best != 0) & (np.diff(best, prepend=-1) != 0))
        if not len(at):
            return "", 0.0
        text = self._characters[best[at[0]]]
        for before, here in pairwise(at):
            if line[before : here + 1, self._blank].max() > BLANK:
                text += " "
            text += self._characters[best[here]]
        return " ".join(text.split()), float(line[at, best[at]].mean())


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Return lines from top to bottom, and from left to right those that stand beside each other.

    Two stand beside each other where they overlap by more than half of the lower one's height.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: (each.top + each.bottom, each.left)):
        if rows and _overlap(rows[-1][0], line) > 0.5:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda each: each.left)]


def load() -> OnScreenText:
    """Return the reader of what is written in frames.

    Raises:
        MissingPackageError: the package that brings it is not installed.
    """
    try:
        require(weights.RAPIDOCR)
    except MissingPackageError as exc:
        raise MissingPackageError(
            f"Reading text in frames needs {weights.RAPIDOCR.name} {weights.RAPIDOCR.version}, which is not here; "
            "run `pip install 'rushes[ocr]'` (it needs Python 3.11 or 3.12)."
        ) from exc
    return OnScreenText()


def _overlap(one: Line, other: Line) -> float:
    """Return how much of the lower of two lines lies beside the other, from 0 to 1."""
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared / max(min(one.bottom - one.top, other.bottom - other.top), 1e-6)

"""What a reader does not believe is counted, and told at the end of the run."""

import io
import sys
from collections import Counter
from dataclasses import replace

import numpy as np

from flows.run import Run
from pipeline.executors.doubts import Doubts
from pipeline.executors.encoding import Encoding
from pipeline.executors.stages import Piece
from pipeline.executors.telling import Telling, hear
from pipeline.media import Sampling, SoundChunk
from pipeline.parts import Part
from pipeline.recipe import Models
from pipeline.report import Report
from tests.pipeline.test_ingest import Silent
from tests.toys import Listener


class Doubter(Listener):
    """Believes nothing that it hears."""

    def __init__(self):
        self.rejected = Counter(silence=5)  # of a run before

    def read(self, samples):
        self.rejected["repetition"] += 1
        return []


def test_doubts_are_told_once():
    reader = Doubter()
    doubts = Doubts(reader, Listener())
    reader.rejected.update(["silence", "unlikely"])

    assert doubts.since() == {"silence": 1, "unlikely": 1}
    assert doubts.since() == {}


def test_what_is_left_out_goes_with_what_was_made(toys):
    encoding = Encoding(replace(Models.of(toys), speech=Doubter()), Sampling())
    sound = SoundChunk(np.full(16000, 0.1, np.float32), 0.0, 16000)
    pieces = [Piece("one", n, sound, frozenset({Part.SPEECH})) for n in range(3)]

    made = encoding.encode(pieces)

    assert [dict(each.left_out) for each in made] == [{"repetition": 3}, {}, {}]
    assert encoding.encode([]) == []


def test_a_report_tells_what_was_left_out(monkeypatch):
    report = Report(states=Counter(indexed=1), left_out=Counter(silence=1, repetition=3))

    assert "Left out as invented: 3 repetition, 1 silence." in Run(report, None).as_text()
    assert Run(report, None).as_dict()["left_out"] == {"repetition": 3, "silence": 1}
    monkeypatch.setattr(sys, "stdout", log := io.StringIO())
    Telling().ended(report)
    assert hear(log.getvalue(), Silent()).left_out == report.left_out

"""What people read in the Prefect UI, without a server: names that are only names, tables that add up, drawings."""

import base64
import io
import logging
import re
from collections import Counter
from datetime import UTC, datetime

import pytest
from PIL import Image
from prefect.logging import disable_run_logger

from flows.chart import chart
from flows.contact_sheet import MOST_CELLS, cells, sheet
from flows.reporting import Night, done_on, outcomes, page, quarantined, shown, sized
from flows.run import executor, ingest_and_publish
from flows.shown import MOST_NAMED, Shown
from index.generation import current, read_manifest
from pipeline.report import Report
from pipeline.timetable import Schedule
from tests.media import film, picture


def test_the_log_names_so_many_files_and_no_more(caplog):
    with disable_run_logger():
        watcher = Shown("archive")
    watcher._log = logging.getLogger("test")
    for n in range(3 * MOST_NAMED):
        watcher.finished(f"{n}", f"{n}.mp4", "quarantined", "no_streams")
    assert len(caplog.messages) == MOST_NAMED + 1
    assert len(watcher.refused) == 3 * MOST_NAMED


class Silent:
    def planned(self, n_files, n_bytes):
        pass

    def started(self, asset_id, n_bytes):
        pass

    def made(self, made):
        pass

    def __init__(self):
        self.fresh = {}
        self.refused = []

    def finished(self, asset_id, uri, state, reason):
        if reason:
            self.refused.append((uri, state, reason))
        else:
            self.fresh[asset_id] = uri


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("films/IMG_0001 (2).mp4", "films/IMG_0001 (2).mp4"),
        ("Tom & Jerry.mp4", "Tom & Jerry.mp4"),
        ("ру́сский 日本語 🎬.png", "ру́сский 日本語 🎬.png"),
        ("<img src=x>", "‹img src=x›"),
        ("a|b`c`", "a¦bˋcˋ"),
        ("![x](y)", "!(x)(y)"),
        ("__init__", "ˍˍinitˍˍ"),
        ("**b** ~~d~~", "∗∗b∗∗ ∼∼d∼∼"),
        ("a\nb\x1b[31m", "a∖nb∖x1b(31m"),
    ],
)
def test_names_are_shown_as_they_are_unless_they_would_mean_something(name, seen):
    assert shown(name) == seen


@pytest.mark.parametrize("name", ["http://evil.com", "www.evil.com", "a@evil.com", "javascript:alert(1)", "&lt;b&gt;"])
def test_no_name_becomes_a_link_or_an_entity(name):
    assert name not in shown(name)
    assert shown(name).replace("\u2060", "") == name


def test_long_names_keep_both_ends():
    seen = shown("a" * 500 + "/take-12.mov")
    assert len(seen) < 110
    assert seen.endswith("/take-12.mov")


def test_outcomes_add_up_to_all_that_was_discovered(make_archive):
    report = Report(
        states=Counter(indexed=5, quarantined=3, skipped=2, partial=1, unchanged=7),
        reasons=Counter(unreadable=2, empty=1, link_outside=2, truncated_at=1),
    )
    refused = [("a", "quarantined", "unreadable:x"), ("b", "quarantined", "unreadable"), ("c", "quarantined", "empty"),
               ("d", "partial", "truncated_at:12.5")]  # fmt: skip
    rows = outcomes(Night(make_archive(), report, "local", {}, refused, None, None))
    assert sum(row["assets"] for row in rows) == 18
    assert {"assets": 2, "outcome": "quarantined", "reason": "unreadable"} in rows
    assert {"assets": 2, "outcome": "skipped", "reason": "linkˍoutside"} not in rows
    assert {"assets": 2, "outcome": "skipped", "reason": "link_outside"} in rows
    assert {"assets": 7, "outcome": "unchanged", "reason": ""} in rows


def test_a_table_of_refused_files_ends():
    rows = quarantined([(f"{n}.mp4", "quarantined", "empty") for n in range(1000)])
    assert len(rows) == 201
    assert rows[-1]["file"] == "and 800 more: `rushes quarantine`"


def test_the_day_on_which_the_rest_is_done_follows_the_schedule():
    schedule = Schedule(nightly="0 1 * * 1-5", time_zone="Europe/Zurich")
    friday = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert done_on(schedule, 1, friday) == "2026-11-30"
    assert done_on(schedule, 6, friday) == "2026-12-07"
    assert done_on(Schedule(nightly=""), 6, friday) == ""


def test_sizes_are_told_for_people():
    assert sized(1, 3_400_000) == "1 file, 3.4 MB"
    assert sized(12, 3_400_000_000) == "12 files, 3.4 GB"


@pytest.fixture
def night(make_archive, tmp_path):
    for n, colours in enumerate((["red", "blue"], ["green", "white", "red"])):
        film(tmp_path / f"source/{n}.mp4", colours)
    for n in range(30):
        picture(tmp_path / f"source/{n}.png", "green", (40 + n, 30))
    (tmp_path / "source/broken [1].mp4").write_bytes(b"")
    archive, watcher = make_archive(), Silent()
    run = ingest_and_publish(archive, executor("local"), watcher)
    manifest = read_manifest(current(archive.index), check_files=False)
    return Night(archive, run.ingested, "local", watcher.fresh, watcher.refused, run.published, manifest)


def test_a_contact_sheet_shows_each_new_file_once_before_any_twice(night):
    chosen = cells(night.archive, night.fresh)
    assert len(chosen) == MOST_CELLS
    assert len({cell.uri for cell in chosen}) == MOST_CELLS
    films = {asset: uri for asset, uri in night.fresh.items() if uri.endswith(".mp4")}
    few = cells(night.archive, films)
    assert [(cell.uri, cell.start_seconds) for cell in sorted(few, key=lambda c: (c.uri, c.start_seconds))] == [
        ("0.mp4", 0.0), ("0.mp4", 2.0), ("1.mp4", 0.0), ("1.mp4", 2.0), ("1.mp4", 4.0),
    ]  # fmt: skip
    kind, _, body = sheet(few).partition(",")
    assert kind == "data:image/webp;base64"
    drawn = Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB")
    assert drawn.size == (5 * 160, 90)
    colours = [drawn.getpixel((n * 160 + 80, 45)) for n in range(5)]
    wanted = [{"0.mp4": [(255, 0, 0), (0, 0, 255)], "1.mp4": [(0, 255, 0), (255, 255, 255), (255, 0, 0)]}[c.uri][
        int(c.start_seconds / 2)] for c in few]  # fmt: skip
    assert all(
        abs(a - b) < 60 for seen, meant in zip(colours, wanted, strict=True) for a, b in zip(seen, meant, strict=True)
    )


def test_pictures_that_are_damaged_or_gone_cost_no_report(night):
    (pack,) = night.archive.thumbs.glob("*.pack")
    pack.write_bytes(bytes(pack.stat().st_size))
    assert cells(night.archive, night.fresh) == []
    pack.unlink()
    assert cells(night.archive, night.fresh) == []
    assert "## What is new\n\n32 files." in page(night, {})


def test_a_page_tells_what_a_person_wants_to_know_in_the_morning(night):
    night.report.stopped, night.report.n_left, night.report.left_bytes = "it was 06:00", 12, 3_000_000
    night.report.nights_left = 2
    text = page(night, {"Quarantine": "../artifact/1"})
    assert "**32 indexed, 1 quarantined.**" in text
    assert re.search(r"0:10 of film and sound in 0:\d\d on the engine local, 0\.00 GPU hours: \d+\.\d hours of", text)
    assert "It stopped because it was 06:00." in text
    assert re.search(
        r"12 files, 3\.0 MB: left to the next run; at this speed all is done in 2 more nights, on 20", text
    )
    assert "| quarantined | empty | broken (1).mp4 |" in text
    assert "gen-000001, new." in text
    assert re.search(r"\| \d+ \| visual \| .*words 1\.000", text)
    assert re.search(r"\| decode \| \d+\.\d s \| \d+\.\d \|", text)


def test_figures_are_drawn_over_time():
    kind, _, body = chart({"recall@10": [0.5, None, 1.0]}).partition(",")
    drawn = base64.b64decode(body).decode()
    assert kind == "data:image/svg+xml;base64"
    assert '<polyline points="36.0,100.0 632.0,8.0"' in drawn
    assert "recall@10" in drawn

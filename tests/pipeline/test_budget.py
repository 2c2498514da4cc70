"""A run stops cleanly at its budget, and says what that leaves."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pipeline import budget as budgets
from pipeline.budget import Budget, Meter, nights_left, window_seconds
from pipeline.executors import local
from pipeline.executors.contract import Pulse
from pipeline.ingest import ingest, ingesting
from pipeline.order import in_order
from pipeline.store.discover import Found
from pipeline.store.schemas import Location
from pipeline.timetable import Schedule
from tests.media import film, picture
from tests.pipeline.test_ingest import Silent, outcomes, rows

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


def test_a_budget_says_by_what_it_is_spent():
    zurich = timezone(timedelta(hours=1))
    budget = Budget(stops_at=datetime(2026, 11, 25, 6, 0, tzinfo=zurich), max_gpu_seconds=5400)
    assert budget.spent(NOW, 5399) == ""
    assert budget.spent(NOW + timedelta(hours=4), 0) == "it was 06:00"
    assert budget.spent(NOW, 5400) == "1.5 GPU hours were used"
    assert Budget().spent(NOW, 1e9) == ""


def test_a_budget_comes_from_the_schedule():
    schedule = Schedule(time_zone="Europe/Zurich", stop_at="06:00", max_gpu_hours=2)
    budget = Budget.of(schedule, NOW)
    assert budget.stops_at == datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
    assert f"{budget.stops_at:%H:%M}" == "06:00"
    assert budget.max_gpu_seconds == 7200
    assert Budget.of(Schedule(), NOW) == Budget()


def test_gpu_seconds_are_wall_seconds_times_what_is_held(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(budgets.time, "monotonic", lambda: clock[0])
    meter = Meter(Budget(max_gpu_seconds=20))
    meter.beat(0.5)
    clock[0] = 10.0
    meter.beat()
    assert (meter.gpu_seconds, meter.may_begin()) == (5.0, True)
    meter.beat(2.0)
    clock[0] = 18.0
    meter.beat(0.0)
    clock[0] = 100.0
    meter.beat()
    assert meter.gpu_seconds == 21.0
    assert not meter.may_begin()
    assert meter.stopped == "0.00555556 GPU hours were used"


@pytest.mark.parametrize(
    ("left", "done", "seconds", "window", "nights"),
    [
        (0, 100, 10, 10, 0),
        (1, 100, 10, 10, 1),
        (250, 100, 3600, 3600, 3),
        (250, 100, 3600, 7200, 2),
        (5, 0, 10, 10, None),
    ],
)
def test_the_backlog_is_told_in_nights(left, done, seconds, window, nights):
    assert nights_left(left, done, seconds, window) == nights


def test_a_window_lasts_from_the_nightly_run_to_its_end():
    schedule = Schedule(nightly="0 1 * * *", time_zone="Europe/Zurich", stop_at="06:00")
    assert window_seconds(schedule, NOW) == 5 * 3600
    assert window_seconds(schedule, datetime(2027, 3, 27, 12, tzinfo=UTC)) == 4 * 3600  # clocks go forward that night
    assert window_seconds(replace(schedule, nightly=""), NOW) is None
    assert window_seconds(replace(schedule, stop_at=""), NOW) is None


def test_what_is_asked_for_comes_first_and_then_the_newest():
    times = {"old.mp4": 1, "news/old.mp4": 2, "new.mp4": 9, "news/deep/new.mp4": 8, "sport/a.mp4": 5, "b.mp4": 9}
    files = [(Found(Location(uri, f"file:///{uri}", 1, n)), None) for uri, n in times.items()]
    ordered = [found.place.uri for found, _ in in_order(files, ["sport/", "news/*"])]
    assert ordered == ["sport/a.mp4", "news/deep/new.mp4", "news/old.mp4", "new.mp4", "b.mp4", "old.mp4"]


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    for n in range(8):
        picture(source / f"{n}.png", "green", (40 + n, 30))
        os.utime(source / f"{n}.png", (1000 + n, 1000 + n))
    return source


class Stopping(Silent):
    """Ends the budget of a run when its first file has ended."""

    def __init__(self):
        self.order = []

    def finished(self, asset_id, uri, state, reason):
        self.order.append(uri)
        object.__setattr__(self.budget, "stops_at", datetime.now(UTC))


def stopped_run(archive, **options):
    watcher = Stopping()
    watcher.budget = Budget(datetime.now(UTC) + timedelta(hours=1))
    return ingest(archive, options.pop("executor", local.run), watcher, budget=watcher.budget, **options), watcher


def test_a_run_over_its_budget_stops_and_carries_over(source, make_archive):
    archive = make_archive()
    report, watcher = stopped_run(archive)
    n_done = report.states["indexed"]
    assert 1 <= n_done < 8
    assert report.stopped.startswith("it was ")
    assert report.states["deferred"] == report.n_left == 8 - n_done
    assert report.discovered == sum(report.states.values()) == 8
    assert report.left_bytes == sum((source / f"{n}.png").stat().st_size for n in range(8 - n_done))
    assert report.nights_left >= 1
    assert not report.interrupted
    assert watcher.order[0] in ("7.png", "6.png")  # two are decoded at once, the newest first
    again = ingest(archive, local.run, Silent())
    assert (again.states["indexed"], again.states["unchanged"], again.stopped) == (8 - n_done, n_done, "")
    assert set(outcomes(archive)) == {f"{n}.png" for n in range(8)}


def test_a_run_over_its_budget_deletes_nothing_that_it_has_not_seen(source, make_archive):
    archive = make_archive()
    ingest(archive, local.run, Silent())
    before = rows(archive)
    for n in range(8):
        os.utime(source / f"{n}.png")  # all have to be looked at again
    report = ingest(archive, local.run, Silent(), budget=Budget(datetime.now(UTC)))
    assert report.states == {"deferred": 8}
    assert rows(archive) == before
    (source / "0.png").unlink()
    assert ingest(archive, local.run, Silent(), budget=Budget(datetime.now(UTC))).states["deleted"] == 1


def test_what_is_still_running_after_the_grace_is_dropped(source, make_archive, monkeypatch):
    monkeypatch.setattr(budgets, "GRACE_SECONDS", 0.2)
    closed = []

    def stuck(jobs, settings, models, watch):
        try:
            next(iter(jobs))
            while True:
                time.sleep(0.05)
                yield Pulse()
        finally:
            closed.append(True)

    archive = make_archive()
    report = ingest(archive, stuck, Silent(), budget=Budget(datetime.now(UTC) + timedelta(seconds=0.5)))
    assert closed
    assert report.states == {"deferred": 8}
    assert report.stopped
    assert ingest(archive, local.run, Silent()).states == {"indexed": 8}


def test_an_asset_that_was_dropped_is_done_again_with_what_lies_beside_it(source, make_archive):
    film(source / "show.mp4", ["red"])
    archive = make_archive()
    ingest(archive, local.run, Silent())
    (source / "show.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nthe lighthouse keeper\n")

    def dropping(jobs, settings, models, watch):
        list(jobs)
        yield from ()

    assert ingest(archive, dropping, Silent()).states["deferred"] == 1
    ingest(archive, local.run, Silent())
    assert "the lighthouse keeper" in [text for (text,) in rows(archive, "text")]


def test_gpus_that_an_executor_holds_are_counted(source, make_archive):
    def holding(jobs, settings, models, watch):
        yield Pulse(2.0)
        time.sleep(0.2)
        yield from local.run(jobs, settings, models, watch)

    report = ingest(make_archive(), holding, Silent())
    assert 0.4 <= report.gpu_seconds < 30
    assert set(report.stage_seconds) == {"list", "look", "decode", "encode", "commit"}


def test_a_file_that_is_being_written_comes_last_and_is_left_if_it_goes_on(source, make_archive):
    growing, copied = source / "growing.png", source / "copied.png"
    picture(growing, "red", (90, 30))
    picture(copied, "red", (1900, 1300))

    class Growing(Silent):
        def __init__(self):
            self.order = []

        def started(self, asset_id, n_bytes):
            self.order.append(n_bytes)
            os.utime(growing)

    archive, watcher = make_archive(), Growing()
    for path in (growing, copied):
        os.utime(path)
    report = ingest(archive, local.run, watcher, stable_seconds=3.0)
    assert report.states == {"indexed": 9, "deferred": 1}
    assert watcher.order[-1] == copied.stat().st_size
    assert "growing.png" not in outcomes(archive)
    assert ingest(archive, local.run, Silent()).states == {"indexed": 1, "unchanged": 9}


def test_a_time_in_the_future_is_not_waited_for(source, make_archive):
    os.utime(source / "0.png", (4e9, 4e9))
    began = time.monotonic()
    assert ingest(make_archive(), local.run, Silent(), stable_seconds=3600).states == {"indexed": 8}
    assert time.monotonic() - began < 600


def test_a_plan_says_in_numbers_what_there_is_to_do(source, make_archive):
    (source / "out").symlink_to("/etc/hostname")
    archive = make_archive()
    with ingesting(archive, Silent(), limit=3) as run:
        planned = run.plan()
        assert (planned.n_unchanged, planned.n_skipped, planned.n_files, planned.n_beyond_limit) == (0, 1, 3, 5)
        run.process(local.run)
        report = run.settle()
    assert report.n_left == 5
    assert report.nights_left is None  # a limit says nothing of how long the rest takes
    with ingesting(archive, Silent()) as run:
        planned = run.plan()
    assert (planned.n_unchanged, planned.n_files) == (3, 5)

"""When a run starts and has to stop, on nights when the clocks change as well."""

import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.archive import open_archive
from pipeline.config import load_settings, render_settings
from pipeline.errors import ConfigError
from pipeline.timetable import Arrivals, Cluster, Keep, Schedule, local_time_zone


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("began", "stops"),
    [
        ("2026-11-25T01:00+01:00", "2026-11-25T06:00+01:00"),
        ("2026-11-25T06:00+01:00", "2026-11-26T06:00+01:00"),  # one that begins then has a whole night
        ("2026-11-25T23:30+01:00", "2026-11-26T06:00+01:00"),
        ("2026-11-25T00:00+00:00", "2026-11-25T06:00+01:00"),
        ("2026-03-29T01:00+01:00", "2026-03-29T06:00+02:00"),  # four hours: the clocks go forward
        ("2026-10-25T01:00+02:00", "2026-10-25T06:00+01:00"),  # six hours: they go back
    ],
)
def test_a_run_stops_at_the_next_time_of_day_where_the_archive_is(began, stops):
    schedule = Schedule(stop_at="06:00", time_zone="Europe/Zurich")
    assert schedule.stops(at(began)) == at(stops)


def test_an_hour_that_there_is_twice_still_lies_after_the_start():
    schedule = Schedule(stop_at="02:30", time_zone="Europe/Zurich")
    for minutes in range(0, 48 * 60, 10):
        began = at("2026-10-24T00:00+00:00") + timedelta(minutes=minutes)
        stops = schedule.stops(began)
        assert stops is not None
        assert timedelta(0) < stops - began <= timedelta(hours=25)


def test_without_a_time_of_day_a_run_goes_to_its_end():
    assert Schedule().stops(datetime.now(UTC)) is None


def test_what_init_writes_says_the_defaults(make_archive):
    written = open_archive(make_archive().root).settings
    assert written.schedule == Schedule(time_zone=local_time_zone())
    assert (written.arrivals, written.ray, written.keep) == (Arrivals(), Cluster(), Keep())


def test_every_table_can_be_set(tmp_path, toys):
    text = render_settings(("/media",), toys)
    changed = {
        'nightly = "0 1 * * *"': 'nightly = "30 22 * * 1-5"', 'stop_at = ""': 'stop_at = "5:30"',
        "max_gpu_hours = 0 ": "max_gpu_hours = 2 ", "first = []": 'first = ["news/*", "sport/*"]',
        "watch = true": "watch = false", 'listen = ""': 'listen = "0.0.0.0:4300"',
        'address = ""': 'address = "https://head:8265"', "days = 7.0": "days = 1",
    }  # fmt: skip
    for before, after in changed.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    tomllib.loads(text)
    (tmp_path / "rushes.toml").write_text(text)
    settings = load_settings(tmp_path / "rushes.toml")
    zone = local_time_zone()
    assert settings.schedule == Schedule("30 22 * * 1-5", zone, "5:30", 2.0, ("news/*", "sport/*"))
    assert settings.arrivals == Arrivals(watch=False, listen="0.0.0.0:4300")
    assert (settings.ray, settings.keep) == (Cluster("https://head:8265"), Keep(1.0))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[schedule]\nnightly = "at night"', "five fields"),
        ('[schedule]\nnightly = "0 25 * * *"', "five fields"),
        ('[schedule]\nnightly = "0 0 1 * * *"', "five fields"),
        ('[schedule]\ntime_zone = "Zurich"', "Europe/Zurich"),
        ('[schedule]\ntime_zone = "../../etc/passwd"', "Europe/Zurich"),
        ('[schedule]\nstop_at = "24:00"', '"06:00"'),
        ("[schedule]\nstop_at = 6", "needs to be a str"),
        ("[schedule]\nmax_gpu_hours = -1", "0 (no limit) or more"),
        ("[schedule]\nmax_gpu_hours = true", "needs to be a float"),
        ('[schedule]\nfirst = "news/*"', "list of texts"),
        ('[schedule]\nweekly = "x"', "'weekly' means nothing"),
        ("[arrivals]\nstable_seconds = nan", "0 or more"),
        ('[arrivals]\nlisten = "4300"', "127.0.0.1:4300"),
        ('[ray]\naddress = "ray://head:10001"', "http://head:8265"),
        ("[keep]\ndays = -1", "0 or more"),
        ("truths = 3", "needs to be a str"),
        ("schedule = 3", "needs to be a dict"),
    ],
)
def test_what_cannot_be_is_named_with_its_cure(tmp_path, toys, text, told):
    path = tmp_path / "rushes.toml"
    path.write_text(f'sources = ["/x"]\nprofile = "{toys}"\n{text}\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)

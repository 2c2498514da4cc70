"""`rushes doctor`: break one thing after another, and see the sentence that names it."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from encoders.profiles import profile
from flows.checks import archive as of_archive
from flows.checks import machine, server
from flows.cli import main
from flows.doctor import examine
from flows.progress import Lines
from flows.server.home import Home, Place, Wanted
from pipeline.archive import Archive
from pipeline.executors.local import run
from pipeline.ingest import ingest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("RUSHES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    return Home(tmp_path / "home")


def one(found: Iterator[str]) -> str:
    (sentence,) = found
    return sentence


def test_a_healthy_machine_and_archive_pass(
    make_archive: Callable[..., Archive], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archive()
    assert main(["doctor", str(archive.root), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["check"] for each in found} >= {"packages", "RAY_ADDRESS", f"storage of {archive.root}"}
    assert {each["grade"] for each in found} <= {"ok", "note"}
    assert not list(archive.root.glob(".doctor*"))


def test_one_thing_that_is_off_is_told_to_people_and_programs(
    make_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:10001")
    assert main(["doctor", str(make_archive().root)]) == 1
    off = [line for line in capsys.readouterr().out.splitlines() if line.startswith("off")]
    assert off == [
        "off   RAY_ADDRESS: RAY_ADDRESS = 'ray://elsewhere:10001' overrides what rushes.toml says; "
        "unset it, and set [ray] address there."
    ]


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    make_archive: Callable[..., Archive], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.checks.machine.NOT_BEFORE", "no time")
    found = {each.check: each for each in examine([make_archive().root], home)}
    assert found["clock"].grade == "off"
    assert "TypeError" in found["clock"].wrong[0]
    assert list(found)[-1] != "clock"


def test_both_kinds_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "version", lambda _name: "1.15.1")
    monkeypatch.setattr(machine, "wrong_pins", lambda: iter(()))
    assert "pip uninstall -y faiss-cpu faiss-gpu" in one(machine.packages())


def test_an_old_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(machine.ffmpeg())
    monkeypatch.setattr("pipeline.decode.libraries.ffmpeg_version", lambda: "n7.1.3-git")
    assert "7.1.3" in one(machine.ffmpeg())


def test_a_machine_that_cannot_shut_the_decoder_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="False -1\n"))
    monkeypatch.setattr(machine.sys, "platform", "linux")
    network, landlock = machine.sandbox()
    assert "user namespaces" in network
    assert "Landlock" in landlock


def test_a_token_that_others_can_read(tmp_path: Path) -> None:
    assert not list(machine.ray_token())
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o644)
    assert f"chmod 600 {tmp_path / 'token'}" in one(machine.ray_token())
    (tmp_path / "token").chmod(0o600)
    assert not list(machine.ray_token())


def test_too_little_room(monkeypatch: pytest.MonkeyPatch, make_archive: Callable[..., Archive]) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=10**6))
    assert "--shm-size" in one(machine.shared_memory())
    assert "TMPDIR" in one(machine.scratch())
    assert "rushes maintain" in one(of_archive.storage(make_archive()))


def test_an_archive_whose_disk_does_not_lock_or_write(
    monkeypatch: pytest.MonkeyPatch, make_archive: Callable[..., Archive]
) -> None:
    archive = make_archive()
    monkeypatch.setattr(of_archive, "_is_locked", lambda _path: False)
    assert "does not lock" in one(of_archive.storage(archive))
    monkeypatch.undo()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in one(of_archive.storage(archive))
    assert not list(archive.root.glob(".doctor*"))


def test_a_disk_in_another_time(monkeypatch: pytest.MonkeyPatch, make_archive: Callable[..., Archive]) -> None:
    now = of_archive.time.time()
    monkeypatch.setattr(of_archive.time, "time", lambda: now - 600)
    assert "+600 s" in one(of_archive.storage(make_archive()))


def test_a_source_that_is_gone(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive()
    assert not list(of_archive.sources(archive))
    (archive.root.parent / "source").rmdir()
    assert "mount it" in one(of_archive.sources(archive))


def test_an_archive_that_is_none(home: Home, tmp_path: Path) -> None:
    found = [each for each in examine([tmp_path / "none"], home) if each.check.startswith("archive")]
    assert "rushes init" in found[0].wrong[0]


def test_tables_that_are_broken_or_ahead_of_the_index(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive()
    assert not list(of_archive.tables(archive))
    (archive.root.parent / "source" / "note.txt").write_text("no media")
    ingest(archive, run, Lines())
    assert "rushes ingest" in one(of_archive.tables(archive))
    for log in (archive.tables / "assets" / "_delta_log").iterdir():
        log.write_text("garbage")
    assert "cannot be read" in one(of_archive.tables(archive))


def test_weights_that_are_not_the_pinned_ones(
    make_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from encoders.weights import MINILM

    archive = make_archive()
    wrong = replace(MINILM, files=dict.fromkeys(MINILM.files, "0" * 64))
    monkeypatch.setattr("encoders.weights.EMBEDDED", (wrong,))
    embedded = replace(archive, settings=replace(archive.settings, profile=profile("embedded")))
    assert "SHA-256" in one(of_archive.weights(embedded))


def test_a_night_elsewhere(make_archive: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_archive, "local_time_zone", lambda: "Pacific/Auckland")
    assert "Pacific/Auckland" in one(of_archive.time_zone(make_archive()))


class Open(BaseHTTPRequestHandler):
    """A server as Prefect is without any settings: everybody gets in, from everywhere."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_OPTIONS(self) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_is_gone_or_open_to_all(home: Home) -> None:
    home.make()
    with HTTPServer(("127.0.0.1", 0), Open) as http:
        home.write(Place(f"http://127.0.0.1:{http.server_port}"))
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        assert "rushes up" in one(server.running(home))  # it answers, but nobody supervises it
        everybody, everywhere = server.guarded(home)
        http.shutdown()
        thread.join()
    assert "PREFECT_SERVER_API_AUTH_STRING" in everybody
    assert "PREFECT_SERVER_CORS_ALLOWED_ORIGINS" in everywhere
    assert "does not answer" in list(server.running(home))[1]
    home.auth.chmod(0o644)
    assert "chmod 600" in next(server.guarded(home))
    home.write(Wanted())
    assert [each.check for each in examine([], home) if each.grade == "off"] == ["server"]

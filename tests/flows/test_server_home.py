"""What `rushes up` keeps on disk: read without harm whatever it has become, and written by one."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.cli import main
from flows.server.home import Home, Place, Registered, ServerError, Wanted, find_home
from flows.server.parts import plan, registrar
from flows.server.pins import wrong_pins
from flows.server.supervisor import free_port
from flows.up import _archives, _external
from pipeline.archive import LOOK_SECONDS, create_archive, writing
from pipeline.errors import ArchiveError
from tests.flows import serving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("RUSHES_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return find_home()


def test_the_home_is_found_where_such_things_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RUSHES_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert find_home().root == tmp_path / "rushes"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_home().root == tmp_path / ".local/state/rushes"


def test_what_is_written_is_read(home: Home) -> None:
    home.make()
    for value in (Wanted(("/a", "/é"), 4300, "", "x"), Place("http://127.0.0.1:4300"), Registered("x", ("a-1",), ())):
        home.write(value)
    assert home.wanted() == Wanted(("/a", "/é"), 4300, "", "x")
    assert home.place() == Place("http://127.0.0.1:4300")
    assert home.registered() == Registered("x", ("a-1",), ())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "null", '{"archives": 7}', '{"archives": ["/a", 7]}', '{"port": "x"}', "\x00", "\udcff"],
)
def test_a_broken_file_is_no_file(home: Home, text: str) -> None:
    home.make()
    (home.root / "wanted.json").write_bytes(text.encode("utf8", "surrogateescape"))
    assert home.wanted() == Wanted()


def test_a_file_of_another_version_is_read_as_far_as_it_goes(home: Home) -> None:
    home.make()
    (home.root / "wanted.json").write_text(json.dumps({"archives": ["/a"], "colour": "red"}))
    assert home.wanted() == Wanted(("/a",))


def test_the_secret_stays_and_is_nobody_elses(home: Home) -> None:
    home.make()
    secret = home.secret()
    home.auth.chmod(0o644)
    home.make()
    assert home.secret() == secret
    assert home.auth.stat().st_mode & 0o077 == 0
    for garbage in (b"", b"\xff\xfe", b"rushes:\x00\x00\x00\x00\x00\x00\x00\x00\x00", b"rushes:short"):
        home.auth.write_bytes(garbage)
        home.make()
        assert home.secret().startswith("rushes:")
        assert len(home.secret()) > 30
    home.auth.write_text("admin:a secret word".replace(" ", "-"))  # somebody's own choice
    home.make()
    assert home.secret() == "admin:a-secret-word"


def test_who_looks_whether_it_is_held_keeps_nobody_out(home: Home, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    archive = create_archive(tmp_path / "archive", [str(tmp_path / "source")])
    home.make()
    for path, held in ((home.root / "lock", home.supervising()), (archive.root / ".lock", writing(archive))):
        with path.open("a") as looks:
            fcntl.flock(looks, fcntl.LOCK_SH)
            threading.Timer(LOOK_SECONDS, fcntl.flock, (looks, fcntl.LOCK_UN)).start()
            with held:
                assert path.read_text("utf8") == str(os.getpid())


def test_an_archive_that_is_away_does_not_keep_the_others_from_running(home: Home, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    here, away = create_archive(tmp_path / "here", [str(tmp_path / "source")]).root, tmp_path / "away"
    home.make()
    home.write(Wanted((str(here), str(away))))
    assert _archives((), home) == (str(here), str(away))
    (watch,) = (part for part in plan(home, home.wanted(), 4200) if part.name == "watch")
    assert str(away) in watch.command
    with pytest.raises(ArchiveError, match="does not exist"):
        _archives([here, away], home)


def test_only_the_server_is_told_of_its_database(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.make()
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_none")
    server, worker = (part.environment for part in plan(home, Wanted(), 4200))
    assert server["PREFECT_SERVER_DATABASE_PASSWORD"] == "secret"
    assert "secret" not in [*worker.values(), *registrar(home, Wanted(), 4200, 0.0).environment.values()]
    assert "PREFECT_API_KEY" not in server


def test_one_supervises(home: Home) -> None:
    home.make()
    assert home.supervisor() is None
    with home.supervising():
        assert home.supervisor() == os.getpid()
        with pytest.raises(ServerError, match="rushes down"), home.supervising():
            pass
    assert home.supervisor() is None


def test_a_killed_supervisor_holds_nothing(home: Home) -> None:
    home.make()
    code = "from flows.server.home import find_home\nwith find_home().supervising(): print(flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == b"\n"
    assert home.supervisor() == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert home.supervisor() is None


def test_a_taken_port_is_passed_over() -> None:
    import socket

    first = serving.free_port()
    with socket.create_server(("127.0.0.1", first)):
        assert free_port(first) > first
    assert free_port(first) == first


def test_what_is_installed_here_is_right() -> None:
    assert list(wrong_pins(("prefect", "fastapi", "sqlalchemy"))) == []


def test_a_wrong_version_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.server.pins.version", lambda name: {"fastapi": "0.165.0"}.get(name, "3.8.8"))
    (sentence,) = wrong_pins(("prefect", "fastapi"))
    assert "0.165.0" in sentence
    assert "pip install 'fastapi<0.151'" in sentence


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["up", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_be_up_is_said_in_a_sentence(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    archive = create_archive(tmp_path / "archive", [str(tmp_path / "source")]).root
    assert "does not exist" in told(capsys, str(tmp_path / "none"))
    assert "is no archive" in told(capsys, str(tmp_path / "source"))
    assert "given twice" in told(capsys, str(archive), f"{archive}/../archive")
    odd = create_archive(tmp_path / "a\udcffb", [str(tmp_path / "source")]).root
    assert "plain name" in told(capsys, str(odd))
    assert "no port" in told(capsys, str(archive), "--port", "70000")
    monkeypatch.setenv("PREFECT_API_URL", "prefect.example:4200")
    assert "PREFECT_API_URL" in told(capsys, str(archive))
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    monkeypatch.setenv("PREFECT_API_KEY", "pnu")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "a:b")
    assert "PREFECT_API_KEY" in told(capsys, str(archive))
    assert not (home.root / "place.json").exists()


def test_ones_own_server_in_the_environment_is_nobody_elses(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.make()
    home.write(Place("http://127.0.0.1:4200"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api/")
    assert _external(home) == ""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4201/api")
    assert _external(home) == "http://127.0.0.1:4201/api"


def test_a_home_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUSHES_HOME", str(tmp_path / "file/home"))
    assert "RUSHES_HOME" in told(capsys)


def test_nothing_to_stop(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert "Nothing was running" in capsys.readouterr().err
    assert not home.root.exists()

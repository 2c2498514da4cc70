"""Fixtures: a profile of toy models, and archives that were made with it."""

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import encoders.profiles
import encoders.registry
from pipeline.archive import Archive, create_archive, open_archive
from tests.stores import SECRET, Objects, Proxy, s3_server
from tests.toys import TOY, TOY_ALL, TOYS


def pytest_configure() -> None:
    """Let Ctrl-C through to what tests start: a shell that starts them in its background has them ignore it."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run heavy tests last: what is wrong elsewhere shows sooner."""
    items.sort(key=lambda item: item.get_closest_marker("heavy") is not None)


@pytest.fixture(autouse=True)
def _no_ray_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the profiles `toy` and `toy-all` known; return the first's name."""
    monkeypatch.setattr(encoders.registry, "FACTORIES", {**encoders.registry.FACTORIES, **TOYS})
    monkeypatch.setattr(
        encoders.profiles, "PROFILES", {**encoders.profiles.PROFILES, TOY.name: TOY, TOY_ALL.name: TOY_ALL}
    )
    return TOY.name


@pytest.fixture
def make_archive(tmp_path: Path, toys: str) -> Callable[..., Archive]:
    """Return a function that makes an archive with toy models over tmp_path/source."""

    def make(extra: str = "") -> Archive:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        root = tmp_path / "archive"
        if not root.exists():
            create_archive(root, [str(source)], toys)
        if extra:
            with (root / "rushes.toml").open("a") as file:
                file.write(extra)
        return open_archive(root)

    return make


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return Path(__file__).parent.parent


@pytest.fixture
def in_root(root: Path) -> Iterator[Path]:
    """Run with the repository as working directory, for what starts `python -m`."""
    before = Path.cwd()
    os.chdir(root)
    yield root
    os.chdir(before)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Serve S3 to the whole session; return HOST:PORT."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Objects:
    """Return a new bucket, with access to it in the environment, and a spool of its own."""
    from pipeline.store import spool

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    spool._own_folder.cache_clear()
    return Objects(s3, f"bucket-{uuid.uuid4().hex}")


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    """Return a proxy before the S3 server."""
    proxy = Proxy(s3)
    yield proxy
    proxy.close()

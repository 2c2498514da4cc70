"""`rushes up` on Postgres instead of SQLite: a throw-away cluster of the system's own Postgres."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.names import slug
from pipeline.archive import create_archive
from tests.flows.serving import free_port, serving, until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


def found(name: str) -> str:
    """Return a program of Postgres, which Debian keeps out of the way."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)]))
    if path is None:
        pytest.skip(f"Postgres is not installed ({name} was not found).")
    return path


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Run a cluster of its own on a free port; yield its address. It refuses to run as root."""
    initdb, server = found("initdb"), found("postgres")
    user = "postgres" if os.geteuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="rushes-postgres-"))
    if user:
        shutil.chown(place, user)
    port = free_port()
    made = [initdb, "-D", str(place / "data"), "-U", "rushes", "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run(made, user=user, check=True, capture_output=True, cwd=place, timeout=120)
    run = [server, "-D", str(place / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(place), "-F"]
    process = subprocess.Popen(run, user=user, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = [found("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        until(lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0, 60)
        yield f"postgresql+asyncpg://rushes@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(place)


def test_everything_lies_in_postgres(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    archive = create_archive(tmp_path / "archive", [str(tmp_path / "source")])
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": postgres}
    with serving(tmp_path / "home", archive.root, environment=database) as served:
        with served.client() as client:
            ingest = client.read_deployment_by_name(f"ingest/{slug(archive.root)}")
            assert until(lambda: [r for r in client.read_flow_runs() if r.deployment_id == ingest.id])
        asked = ["-d", postgres.replace("+asyncpg", ""), "-Atc", "select count(*) from deployment"]
        counted = subprocess.run([found("psql"), *asked], capture_output=True, text=True, check=True)
        assert int(counted.stdout) >= 6
        assert not list(served.home.prefect.glob("*.db"))

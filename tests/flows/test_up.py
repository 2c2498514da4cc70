"""`rushes up`: what it starts is there, guarded, found again, and gone in the end."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pipeline.archive import create_archive
from tests.flows.serving import Served, serving

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("up")
    (place / "source").mkdir()
    create_archive(place / "archive", [str(place / "source")])
    with serving(place / "home", place / "archive") as served:
        yield served


def test_nobody_gets_in_without_the_secret(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{served.url}/api/deployments/filter")
    with served.client() as client:
        assert client.read_deployments()

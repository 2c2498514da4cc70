"""One server for all tests of flows: it takes half a minute to start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import encoders.profiles
import encoders.registry
from tests.flows.nights import Night, toy_archive
from tests.flows.serving import serving
from tests.toys import TOY, TOYS

ROOT = Path(__file__).parents[2]
WATCHED = "arrivals"
ARCHIVES = ("hostile", "wrong", "twice", "killed", "cancelled", "window", "kept", "cluster")


@pytest.fixture(scope="module")
def toys_known() -> Iterator[None]:
    """Make the profile `toy` known in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders.registry, "FACTORIES", {**encoders.registry.FACTORIES, **TOYS})
        patch.setattr(encoders.profiles, "PROFILES", {**encoders.profiles.PROFILES, TOY.name: TOY})
        yield


@pytest.fixture(scope="session")
def served_night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Run a server with archives that have nothing in their sources yet."""
    place = tmp_path_factory.mktemp("night")
    hold, token = place / "hold", place / "token"
    token.write_text("0" * 32, "utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders.profiles, "PROFILES", {**encoders.profiles.PROFILES, TOY.name: TOY})
        archives = {name: toy_archive(place / name) for name in ARCHIVES}
        archives[WATCHED] = toy_archive(place / WATCHED, stable_seconds=3.0)
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/flows/toyed'}", "TOYS_HOLD": str(hold), "RAY_AUTH_TOKEN_PATH": str(token),
    }  # fmt: skip
    with serving(place / "home", *(each.root for each in archives.values()), environment=environment) as served:
        yield Night(served, archives, hold, token)


@pytest.fixture
def night(served_night: Night, toys_known: None) -> Iterator[Night]:
    """Yield the server with its archives; runs that wait go on in the end."""
    yield served_night
    served_night.hold.unlink(missing_ok=True)

"""Prefect's own client, for the server that `rushes up` runs, or was told to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.server.home import Home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@contextmanager
def logged_in(home: Home) -> Iterator[SyncPrefectClient]:
    """Yield a client of the server of a home."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

    ours = {
        PREFECT_API_URL: f"{home.place().url}/api",
        PREFECT_API_AUTH_STRING: home.secret(),
        PREFECT_API_KEY: None,
    }
    theirs = {PREFECT_API_URL: home.wanted().external}
    with temporary_settings(theirs if home.wanted().external else ours), get_client(sync_client=True) as client:
        yield client

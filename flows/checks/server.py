"""What can be wrong with the server that `rushes up` runs, or uses. Each check yields a sentence for each thing."""

from __future__ import annotations

import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flows.names import slug
from flows.server.automations import ZOMBIES
from flows.server.home import Home
from flows.server.parts import WORK_POOL
from pipeline.archive import Archive

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TIMEOUT_SECONDS = 10.0
STRANGER = "http://elsewhere.example"
CURE = "run `rushes down` and `rushes up`"
SILENT = timedelta(seconds=120)
"""Four heartbeats of a worker."""


def running(home: Home) -> Iterator[str]:
    """What was started runs, under a supervisor."""
    if home.supervisor() is None:
        yield "Nothing is supervised; run `rushes up`."
    if not _answers(home.place().url + "/api/health"):
        yield f"The Prefect server at {home.place().url} does not answer; {CURE}, and see {home.logs}."


def guarded(home: Home) -> Iterator[str]:
    """The server lets in who has the secret, and no page of a browser but its own."""
    url = home.place().url
    if not home.wanted().external and (mode := stat.S_IMODE(home.auth.stat().st_mode)) & 0o077:
        yield f"{home.auth} has mode {mode:o}, and lets others log in; run: chmod 600 {home.auth}"
    if _status(f"{url}/api/admin/version") not in (401, 403):
        yield f"{url} lets in whoever asks; set PREFECT_SERVER_API_AUTH_STRING there."
    if _allowed(url) in ("*", STRANGER):
        yield f"{url} answers any page of a browser; set PREFECT_SERVER_CORS_ALLOWED_ORIGINS={url} there."


def worker(client: SyncPrefectClient) -> Iterator[str]:
    """A worker takes the runs."""
    now = datetime.now(UTC)
    seen = [each.last_heartbeat_time for each in client.read_workers_for_work_pool(WORK_POOL)]
    if not any(at and now - at < SILENT for at in seen):
        yield f"No worker of the pool {WORK_POOL!r} was heard of for {SILENT.seconds} s; {CURE}."


def zombies(client: SyncPrefectClient) -> Iterator[str]:
    """A run whose process and worker were killed will be seen as Crashed."""
    found = client.read_automations_by_name(ZOMBIES)
    if not found:
        yield f"The automation {ZOMBIES} is missing: killed runs would be Running for ever; run `rushes up`."
    elif not any(each.enabled for each in found):
        yield f"The automation {ZOMBIES} is switched off: killed runs stay Running for ever; switch it on in the UI."


def scheduled(client: SyncPrefectClient, archive: Archive) -> Iterator[str]:
    """The archive's nightly run really has its place in the server's calendar."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )  # fmt: skip
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound

    name = f"ingest/{slug(archive.root)}"
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        yield f"Prefect does not know {archive.root}; run `rushes up {archive.root}` with the other archives."
        return
    asked = archive.settings.schedule
    crons = [getattr(each.schedule, "cron", "") for each in deployment.schedules if each.active]
    if deployment.paused or (deployment.schedules and not crons):
        yield f"{name} is paused; resume it in the UI."
    elif crons != ([asked.nightly] if asked.nightly else []):
        yield f"{name} runs at {', '.join(crons) or 'no time'}, rushes.toml says {asked.nightly!r}; run `rushes up`."
    elif crons and not client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        limit=1,
    ):
        yield f"{name} has no scheduled runs: the server's scheduler does not work; see server.log, then {CURE}."


def _answers(url: str) -> bool:
    return _status(url) == 200


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own server's address
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def _allowed(url: str) -> str | None:
    headers = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    asked = urllib.request.Request(f"{url}/api/work_pools/", method="OPTIONS", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return str(answer.headers["Access-Control-Allow-Origin"])
    except urllib.error.HTTPError as error:
        return error.headers["Access-Control-Allow-Origin"]
    except OSError:
        return None

"""Tell Prefect what there is: `python -m flows.server.register SINCE`, which the supervisor runs on every change.

It waits for the server, marks what a killed worker has left as crashed, registers each archive, waits for the worker,
and writes down how far it came. Running it again changes nothing.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows.events import install
from flows.names import slug
from flows.server.automations import OF_AN_ARCHIVE, automations, zombie_automation
from flows.server.crashes import mark_crashed
from flows.server.deployments import of_rushes, register
from flows.server.home import Home, Registered, ServerError, Wanted, find_home
from flows.server.parts import WORK_POOL, worker_name
from pipeline.archive import open_archive
from pipeline.errors import RushesError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PATIENCE_SECONDS = 120.0


def main(since: float) -> int:
    """Register everything; return 1 where something could not be, which the supervisor tries again later.

    Args:
        since: when the worker that runs now was started, in seconds since 1970.
    """
    from prefect.client.orchestration import get_client

    home = find_home()
    wanted = home.wanted()
    try:
        with get_client(sync_client=True) as client:
            _wait_for_server(client)
            _make_pool(client)
            if not wanted.external:
                mark_crashed(client, home, datetime.fromtimestamp(since, UTC))
            done = _register(client, wanted, home.registered())
            _wait_for_worker(client, home, since)
    except RushesError as error:
        done = replace(home.registered(), request=wanted.request, trouble=(str(error),))
    except Exception as error:  # whoever waits for the answer is told; the rest is in the log
        traceback.print_exc()
        told = f"Prefect could not be told of the archives ({type(error).__name__}); see {home.logs / 'register.log'}."
        done = replace(home.registered(), request=wanted.request, trouble=(told,))
    home.write(done)
    print("\n".join(done.trouble), end="\n" if done.trouble else "", file=sys.stderr)
    return int(bool(done.trouble))


def _register(client: SyncPrefectClient, wanted: Wanted, before: Registered) -> Registered:
    install(zombie_automation())
    asked, trouble = set(), []
    slugs = {slug(Path(root)) for root in wanted.archives}
    for root in wanted.archives:
        try:
            archive = open_archive(Path(root))
            for automation in automations(archive, register(client, archive)):
                install(automation)
                asked.add(automation.name)
        except RushesError as error:  # such as a disk that is away: it keeps what it has
            trouble.append(str(error))
            asked |= {prefix + slug(Path(root)) for prefix in OF_AN_ARCHIVE}
    # Somebody else's server may hold archives of other machines; ours holds none but those that were given here.
    known = slugs | set(before.slugs) if wanted.external else None
    _remove_others(client, slugs, asked, known)
    return Registered(wanted.request, tuple(sorted(slugs)), tuple(trouble))


def _remove_others(client: SyncPrefectClient, slugs: set[str], asked: set[str], known: set[str] | None) -> None:
    """Remove what belongs to archives that are no longer given, and automations that rushes.toml no longer asks for."""
    for deployment in of_rushes(client):
        if deployment.name not in slugs and (known is None or deployment.name in known):
            client.delete_deployment(deployment.id)
    for automation in client.read_automations():
        prefix = next((each for each in OF_AN_ARCHIVE if automation.name.startswith(each)), None)
        if prefix and automation.name not in asked and (known is None or automation.name[len(prefix) :] in known):
            client.delete_automation(automation.id)


def _wait_for_server(client: SyncPrefectClient) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    deadline = time.monotonic() + PATIENCE_SECONDS
    while error := client.api_healthcheck():
        if time.monotonic() > deadline:
            raise ServerError(f"The Prefect server at {client.api_url} does not answer ({error}); see server.log.")
        time.sleep(0.2)
    try:
        client.request("GET", "/admin/version")
    except PrefectHTTPStatusError as exc:
        if exc.response.status_code not in (401, 403):
            return
        raise ServerError(
            f"The Prefect server at {client.api_url} does not let us in ({exc.response.status_code}); "
            "set PREFECT_API_AUTH_STRING to what it asks for."
        ) from exc


def _wait_for_worker(client: SyncPrefectClient, home: Home, since: float) -> None:
    began = datetime.fromtimestamp(since, UTC)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(_is_up(each, began) for each in client.read_workers_for_work_pool(WORK_POOL)):
        if time.monotonic() > deadline:
            raise ServerError(f"The worker does not come up; see {home.logs / 'worker.log'}.")
        time.sleep(0.2)


def _is_up(worker: object, began: datetime) -> bool:
    name, seen = worker.name, worker.last_heartbeat_time  # type: ignore[attr-defined]
    return bool(name == worker_name() and seen and seen >= began)


def _make_pool(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        try:
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template))
        except ObjectAlreadyExists:  # the worker was faster
            return


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))

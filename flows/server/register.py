"""Tell Prefect what there is: `python -m flows.server.register`, which the supervisor runs whenever something changed.

It waits for the server, settles what was running when the worker died, registers each archive, and writes down how far
it came. Running it again changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.names import slug
from flows.server.deployments import register, remove_others
from flows.server.home import Home, Registered, ServerError, Wanted, find_home
from flows.server.parts import WORK_POOL
from pipeline.archive import open_archive
from pipeline.errors import RushesError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

SERVER_SECONDS = 120.0


def main() -> int:
    """Register everything; return 1 where something could not be, which the supervisor tries again later."""
    home = find_home()
    wanted = home.wanted()
    try:
        done = asyncio.run(_all(home, wanted))
    except RushesError as error:
        done = replace(home.registered(), request=wanted.request, trouble=(str(error),))
    home.write(done)
    print("\n".join(done.trouble), file=sys.stderr)
    return int(bool(done.trouble))


async def _all(home: Home, wanted: Wanted) -> Registered:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        await _wait_for(client)
        await _make_pool(client)
        before = home.registered()
        slugs, trouble = set(), []
        for root in wanted.archives:
            slugs.add(slug(Path(root)))  # an archive whose disk is away keeps what it has
            try:
                await register(client, open_archive(Path(root)))
            except RushesError as error:
                trouble.append(str(error))
        await remove_others(client, slugs, set(before.slugs) if wanted.external else None)
    return Registered(wanted.request, tuple(sorted(slugs)), tuple(trouble))


async def _wait_for(client: PrefectClient) -> None:
    """Wait until the server answers, and lets us in."""
    deadline = time.monotonic() + SERVER_SECONDS
    while error := await client.api_healthcheck():
        if time.monotonic() > deadline:
            raise ServerError(f"The Prefect server at {client.api_url} does not answer ({error}).")
        await asyncio.sleep(0.2)


async def _make_pool(client: PrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        try:
            await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return


if __name__ == "__main__":
    sys.exit(main())

"""What Prefect knows of an archive: a deployment for each flow, with the schedule that rushes.toml asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.names import slug
from flows.server.parts import WORK_POOL
from pipeline.archive import Archive

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate

TAG = "rushes"
RUN = "python -m prefect.engine"
"""How the worker runs a flow: with the packages that are installed, without a process that looks for code first."""


@dataclass(frozen=True)
class Kind:
    """A flow of Rushes."""

    module: str
    cron: str = ""
    """When, in the archive's time zone; "nightly": as rushes.toml says; empty: when somebody asks."""
    told: str = ""


KINDS: Mapping[str, Kind] = {
    "ingest": Kind("flows.ingest", "nightly", "Processes what is new or changed, then indexes and publishes."),
    "evaluate": Kind("flows.upkeep", "", "Asks questions whose answers are known; after the nightly run."),
    "verify": Kind("flows.upkeep", "0 12 * * 6", "Checks tables, index and pictures against each other."),
    "maintain": Kind("flows.upkeep", "0 12 * * 0", "Compacts the tables, removes what is out of force."),
    "reindex": Kind("flows.upkeep", "", "Makes the index again from the tables alone."),
    "forget": Kind("flows.upkeep", "", "Removes files from the archive, for good."),
}


async def register(client: PrefectClient, archive: Archive) -> dict[str, UUID]:
    """Register an archive's deployments, or bring them up to date; what a person has paused stays paused.

    Returns:
        The deployment of each flow, by the flow's name.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.utilities.callables import parameter_schema

    registered = {}
    for name, kind in KINDS.items():
        if find_spec(kind.module) is None:
            continue
        flow: Flow[..., Any] = getattr(import_module(kind.module), name)
        registered[name] = await client.create_deployment(
            flow_id=await client.create_flow(flow),
            name=slug(archive.root),
            description=kind.told,
            entrypoint=f"{kind.module}.{name}",  # a module: nothing is copied, and no folder matters
            parameters={"archive": str(archive.root)},
            parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
            enforce_parameter_schema=True,
            schedules=schedules(archive, kind),
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            work_pool_name=WORK_POOL,
            job_variables={"command": RUN},
            tags=[TAG, slug(archive.root)],
        )
    return registered


def schedules(archive: Archive, kind: Kind) -> list[DeploymentScheduleCreate]:
    """Return when a flow of an archive runs by itself."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    asked = archive.settings.schedule
    cron = asked.nightly if kind.cron == "nightly" else kind.cron
    if not cron:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=asked.time_zone), active=True)]


async def remove_others(client: PrefectClient, slugs: set[str], known: set[str] | None) -> None:
    """Remove the deployments of archives that are no longer given, their automations with them.

    Args:
        client: of the server.
        slugs: the archives that are given.
        known: those that may be removed; None: all that Rushes made, since nobody else uses this server.
    """
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    for deployment in await client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    ):
        if deployment.name not in slugs and (known is None or deployment.name in known):
            await client.delete_deployment(deployment.id)
    for automation in await client.read_automations():
        name = automation.name.rpartition(" ")[2]
        if automation.name.startswith(f"{TAG}: ") and name not in slugs and (known is None or name in known):
            await client.delete_automation(automation.id)

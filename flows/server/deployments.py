"""What Prefect knows of an archive: a deployment for each flow, with the schedule that rushes.toml asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.names import slug
from flows.server.parts import WORK_POOL
from pipeline.archive import Archive

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

TAG = "rushes"
RUN = "python -m prefect.engine"
"""How the worker runs a flow: with the packages that are installed, without a process that looks for code first."""


@dataclass(frozen=True)
class Kind:
    """A flow of Rushes."""

    module: str
    cron: str
    """When, in the archive's time zone; "nightly": as rushes.toml says; empty: when somebody asks."""
    told: str


KINDS: Mapping[str, Kind] = {
    "ingest": Kind("flows.ingest", "nightly", "Processes what is new or changed, then indexes and publishes."),
    "evaluate": Kind("flows.upkeep", "", "Asks questions whose answers are known; after the nightly run."),
    "verify": Kind("flows.upkeep", "0 12 * * 6", "Checks tables, index and pictures against each other."),
    "maintain": Kind("flows.upkeep", "0 12 * * 0", "Compacts the tables, removes what is out of force."),
    "reindex": Kind("flows.upkeep", "", "Makes the index again from the tables alone."),
    "forget": Kind("flows.upkeep", "", "Removes files from the archive, for good."),
}


def register(client: SyncPrefectClient, archive: Archive) -> dict[str, UUID]:
    """Register an archive's deployments, or bring them up to date.

    What is right already stays as it is, and so do its scheduled runs; what a person has paused stays paused.

    Returns:
        The deployment of each flow, by the flow's name.
    """
    name = slug(archive.root)
    present = {d.entrypoint: d for d in of_rushes(client) if d.name == name}
    registered = {}
    for flow_name, kind in KINDS.items():
        flow = getattr(import_module(kind.module), flow_name)
        said = _said(archive, flow, kind)
        there = present.get(said["entrypoint"])
        if there is None or not _is_right(there, said):
            registered[flow_name] = client.create_deployment(client.create_flow(flow), name, **said)
        else:
            registered[flow_name] = there.id
    return registered


def of_rushes(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Return the deployments that Rushes has registered."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=ours, limit=200, offset=len(found)):
        found += page
    return found


def _said(archive: Archive, flow: Flow[..., Any], kind: Kind) -> dict[str, Any]:
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.utilities.callables import parameter_schema

    said = {
        "description": kind.told,
        "entrypoint": f"{kind.module}.{flow.name}",  # a module: nothing is copied, and no folder matters
        "parameters": {"archive": str(archive.root)},
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "concurrency_limit": 1,
        "work_pool_name": WORK_POOL,
        "job_variables": {"command": RUN},
        "tags": [TAG, slug(archive.root)],
    }
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode("utf8"), digest_size=4).hexdigest()
    return {
        **said,
        "version": digest,
        "schedules": _schedules(archive, kind),
        "concurrency_options": ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
    }


def _schedules(archive: Archive, kind: Kind) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    asked = archive.settings.schedule
    cron = asked.nightly if kind.cron == "nightly" else kind.cron
    if not cron:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=asked.time_zone), active=True)]


def _is_right(there: DeploymentResponse, said: Mapping[str, Any]) -> bool:
    return there.version == said["version"] and [each.schedule for each in there.schedules] == [
        each.schedule for each in said["schedules"]
    ]

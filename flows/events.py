"""What Rushes tells Prefect of an archive, and the automation that an arrival sets off.

An event is a hint: it means "go and look". Losing one costs until the next scan, and nothing is read from it but that
something happened; names of files are in it for people. No transcripts, no secrets: everyone who sees the Prefect UI
sees events.

The receiving end debounces as well as the sending end (flows/watch.py): after an event the automation takes no
notice of others for `SETTLING`, and starts the run only when that time is over, so that the run finds what they were
about. An event that comes later starts a run of its own, which collapses into nothing if the first is still at work.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from flows.names import slug
from index.hits import harmless

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

ARRIVED = "rushes.asset.arrived"
"""Something new or changed lies in a source. One for a burst of files."""
RUN_FINISHED = "rushes.run.finished"
PUBLISHED = "rushes.index.published"
QUARANTINED = "rushes.asset.quarantined"
"""Files could not be used. One for a run, with counts and a few names."""
QUERY_MATCHED = "rushes.query.matched"
"""A new moment answers a saved question. One for each moment and question."""

SETTLING = timedelta(seconds=10)
LONGEST_TEXT, LONGEST_LIST, DEEPEST = 500, 20, 3
TIMEOUT_SECONDS = 10.0

_log = logging.getLogger(__name__)


def emit(name: str, archive: Path, payload: Mapping[str, Any], *, once: str = "") -> bool:
    """Tell Prefect that something has happened to an archive; return whether Prefect has it. Never raises.

    Args:
        name: one of the names above.
        archive: the archive's folder.
        payload: plain values for people; long texts and lists are cut.
        once: what makes this event this one, if it might be told again: Prefect keeps one of those that agree.

    Returns:
        False where there is no Prefect API, or it did not take the event.
    """
    try:
        return _send(name, archive, payload, once)
    except Exception as error:
        told = harmless(f"{type(error).__name__}: {error}")
        _log.info("Prefect was not told of %s: %s", name, told[:LONGEST_TEXT])
        return False


def resource_of(name: str) -> str:
    """Return the resource that an archive's events are about, from the archive's name in Prefect."""
    return f"rushes.archive.{name}"


def arrival_automation(name: str, deployment_id: UUID) -> AutomationCore:
    """Return the automation that runs a deployment once for each burst of arrivals.

    Args:
        name: the archive's name in Prefect, `flows.names.slug`.
        deployment_id: of its ingest deployment, which takes no parameters from the event.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    run = RunDeployment(
        source="selected", deployment_id=deployment_id, parameters=None, job_variables=None, schedule_after=SETTLING
    )
    return AutomationCore(
        name=f"rushes-arrivals-{name}",
        description="Something arrived in the sources: ingest it, once for a burst.",
        enabled=True,
        trigger=EventTrigger(
            expect={ARRIVED},
            match={"prefect.resource.id": resource_of(name)},
            posture=Posture.Reactive,
            threshold=1,
            within=SETTLING,
        ),
        actions=[run],
    )


def install(automation: AutomationCore) -> UUID:
    """Make an automation, or bring the one of that name up to date, on the server in force; return its id.

    One that a person has paused stays paused.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        named = client.read_automations_by_name(automation.name)
        if not named:
            return client.create_automation(automation)
        present, *doubles = named
        for double in doubles:
            client.delete_automation(double.id)
        body = automation.model_dump(mode="json", exclude={"owner_resource"}) | {"enabled": present.enabled}
        client.request("PUT", "/automations/{id}", path_params={"id": present.id}, json=body)
        return present.id


def _send(name: str, archive: Path, payload: Mapping[str, Any], once: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if not PREFECT_API_URL.value():
        return False
    event = Event.model_validate(
        {
            "event": name,
            "resource": {
                "prefect.resource.id": resource_of(slug(archive)),
                "prefect.resource.name": harmless(archive.resolve().name),
            },
            "related": _run(),
            "payload": {key: _bounded(value) for key, value in payload.items()},
        }
    )
    if once:
        event.id = uuid5(NAMESPACE_URL, f"{resource_of(slug(archive))} {name} {once}")
    # posted, not queued for Prefect's background thread: whether it was taken is worth knowing, and exits lose a queue
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": TIMEOUT_SECONDS}, sync_client=True) as client,
    ):
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    return True


def _run() -> list[dict[str, str]]:
    """Return the flow run that this happens in, so that the UI shows the event on its page."""
    from prefect.runtime import flow_run

    if not flow_run.id:
        return []
    return [{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}]


def _bounded(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON of bounded size, with texts that do no harm where they are shown."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {harmless(str(key))[:LONGEST_TEXT]: _bounded(each, depth + 1) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and depth < DEEPEST:
        return [_bounded(each, depth + 1) for each in value[:LONGEST_LIST]]
    text = harmless(str(value))
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"

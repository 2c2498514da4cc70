"""What Prefect does by itself: start the run that an event asks for, end runs of which nothing is heard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from flows.events import arrival_automation
from flows.names import slug
from pipeline.archive import Archive

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

ZOMBIES = "rushes-zombies"
SILENCE = timedelta(seconds=540)
"""Three heartbeats, which come every 180 s."""
OF_AN_ARCHIVE = ("rushes-arrivals-", "rushes-evaluate-")


def zombie_automation() -> AutomationCore:
    """Return the automation that marks a run as Crashed when its process and its worker are gone.

    A run of which nobody is left to say how it ended would be Running for ever, and keep the next one from starting.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    return AutomationCore(
        name=ZOMBIES,
        description="A run of Rushes from which no heartbeat comes has crashed.",
        enabled=True,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat"} | ends,
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.rushes"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name=None, force=False,
                message="No sign of life for nine minutes: its process was killed. The next run goes on from there.",
            )
        ],
    )  # fmt: skip


def evaluation_automation(name: str, ingest: UUID, evaluate: UUID) -> AutomationCore:
    """Return the automation that evaluates an archive after the run of the night, and not after those of the day.

    Args:
        name: the archive's, `flows.names.slug`.
        ingest: the deployment of that run.
        evaluate: the deployment that follows.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=f"rushes-evaluate-{name}",
        description="The nightly run has ended: ask the questions whose answers are known.",
        enabled=True,
        trigger=EventTrigger(
            expect={"prefect.flow-run.Completed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[
                {"prefect.resource.role": "deployment", "prefect.resource.id": f"prefect.deployment.{ingest}"},
                {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.auto-scheduled"},
            ],
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected", deployment_id=evaluate, parameters=None, job_variables=None,
                schedule_after=timedelta(0),
            )
        ],
    )  # fmt: skip


def automations(archive: Archive, deployments: Mapping[str, UUID]) -> list[AutomationCore]:
    """Return the automations that an archive's rushes.toml asks for."""
    name, asked = slug(archive.root), []
    if archive.settings.arrivals.watch or archive.settings.arrivals.listen:
        asked.append(arrival_automation(name, deployments["ingest"]))
    if archive.settings.truths:
        asked.append(evaluation_automation(name, deployments["ingest"], deployments["evaluate"]))
    return asked

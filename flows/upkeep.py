"""The flows that look after an archive: reindex, verify, maintain, forget, evaluate. Each is a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from flows import evaluations, events
from flows.forget import as_text as receipt_as_text
from flows.ingest import publish
from flows.maintain import as_text as maintenance_as_text
from flows.names import slug
from flows.reporting import LONGEST_SENTENCE, generation_rows, shown
from flows.steps import named, plainly, rename, step
from flows.traces import wipe_from_flow
from index.evaluate import evaluate as ask
from index.evaluate import truths_of
from index.evaluation import Evaluation
from index.forget import complete, hide
from index.generation import current, read_manifest
from index.maintain import Maintenance
from index.maintain import maintain as maintain_archive
from index.verify import damages
from pipeline.archive import Archive, open_archive, writing
from pipeline.errors import IntegrityError
from pipeline.store.tables import Tables


@flow(name="reindex", flow_run_name=named("reindex"), persist_result=True, result_serializer="json")
@plainly
def reindex(archive: str) -> dict[str, Any]:
    """Make the index again from the tables alone.

    Args:
        archive: the archive's folder.
    """
    place = open_archive(Path(archive))
    with writing(place, _tell_waiting):
        step("finish what was staged", Tables(place.tables).recover)
        published = publish(place)
    step("report", _report_generation, place, "reindex")
    events.emit(events.PUBLISHED, place.root, {"generation": published})
    return {"generation": published}


@flow(name="verify", flow_run_name=named("verify"), persist_result=True, result_serializer="json")
@plainly
def verify(archive: str) -> dict[str, Any]:
    """Check tables, index and pictures against each other; damage makes the run fail, with the first of it.

    Args:
        archive: the archive's folder.
    """
    place = open_archive(Path(archive))
    found = step("check tables, index and pictures", lambda: list(damages(place)))
    rows = [{"damage": shown(sentence, LONGEST_SENTENCE)} for sentence in found] or [{"damage": "none"}]
    step("report", create_table_artifact, rows, f"damage-{slug(place.root)}", "What is wrong, each with its cure.")
    if found:
        more = f" ({len(found) - 1} more in the table of damage)" if len(found) > 1 else ""
        raise IntegrityError(f"{found[0]}{more}")
    return {"damage": 0}


@flow(name="maintain", flow_run_name=named("maintain"), persist_result=True, result_serializer="json")
@plainly
def maintain(archive: str, dry_run: bool = False) -> dict[str, Any]:
    """Compact the tables, remove what is out of force.

    Args:
        archive: the archive's folder.
        dry_run: only say what would be removed.
    """
    place = open_archive(Path(archive))
    done = step(
        "compact, and remove what is out of force", maintain_archive, place, dry_run=dry_run, waiting=_tell_waiting
    )
    step("report", _report_maintenance, place, done)
    return done.as_dict()


@flow(name="forget", flow_run_name=named("forget"), persist_result=True, result_serializer="json")
@plainly
def forget(archive: str, what: list[str]) -> dict[str, Any]:
    """Remove files from the archive, for good, from Prefect's runs, logs and artifacts as well.

    Args:
        archive: the archive's folder.
        what: files as hits show them, their paths, or their asset_ids.
    """
    place = open_archive(Path(archive))
    step(f"make {len(what)} files unfindable", hide, place, what)
    _log("Unfindable from now on; what is left of them is removed next.")
    with writing(place, _tell_waiting):
        # before the archive has forgotten what they are called: a run that was killed here does it again
        errands = Tables(place.tables).forgotten.errands()
        step("remove what Prefect knows of them", wipe_from_flow, slug(place.root), errands)
        receipt = step("remove every byte of them", complete, place)
    step("report", _report_receipt, place, receipt_as_text(receipt))
    return receipt.as_dict()


@flow(name="evaluate", flow_run_name=named("evaluate"), persist_result=True, result_serializer="json")
@plainly
def evaluate(archive: str) -> dict[str, Any]:
    """Ask questions whose answers are known; figures into a table, and drawn over time.

    Args:
        archive: the archive's folder; its rushes.toml names the file with the questions.
    """
    place = open_archive(Path(archive))
    truths = truths_of(place)
    asked = step("ask what is known", ask, place, truths)
    return step("report", _report_evaluation, place, asked)


def _report_generation(place: Archive, verb: str) -> None:
    manifest = read_manifest(current(place.index), check_files=False)
    name = slug(place.root)
    told = f"{manifest.generation}, the index in force, made by the profile {manifest.profile}."
    create_table_artifact(generation_rows(manifest), f"generation-{name}", told)
    rename(f"{verb} {name} · {manifest.generation}", manifest.generation)


def _report_maintenance(place: Archive, done: Maintenance) -> None:
    rows = [{"files": r.n_files, "bytes": r.n_bytes, "removed": kind} for kind, r in done.removed.items()]
    told = f"{done.joined} small files of tables joined; what was removed."
    if done.dry_run:
        told = f"{done.joined} small files of tables would be joined; what would be removed."
    create_table_artifact(rows, f"maintenance-{slug(place.root)}", told)
    _log(maintenance_as_text(done))


def _report_receipt(place: Archive, text: str) -> None:
    create_markdown_artifact("\n\n".join(text.splitlines()), f"receipt-{slug(place.root)}", "What was removed.")
    _log(text)


def _report_evaluation(place: Archive, asked: Evaluation) -> dict[str, Any]:
    name, rows = slug(place.root), evaluations.note(place, asked)
    create_table_artifact(rows, f"evaluation-{name}", "One row a night, the newest first.")
    lines = f"```\n{asked.as_text().replace('`', 'ˋ')}\n```"
    page = f"# {name} · {asked.generation}\n\n![figures over time]({evaluations.drawn(rows)})\n\n{lines}"
    create_markdown_artifact(page, f"evaluated-{name}", "How questions with known answers fare, drawn over time.")
    rename(f"evaluate {name} · {asked.generation}", asked.generation)
    _log(asked.as_text())
    return rows[0]


def _tell_waiting(process: str) -> None:
    _log(f"Waiting until process {process} has finished with the archive.")


def _log(text: str) -> None:
    for line in text.splitlines():
        get_run_logger().info(line)

"""What a run leaves in the Prefect UI for the people who come in the morning: tables, links, and one page to read.

Names of files are not ours: they are shown with look-alikes of every character that means something in markdown, HTML
or a link. (Entities would do in one of Prefect's two UIs, in markdown only: tables show them as they are written.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from flows.contact_sheet import cells, sheet
from flows.names import slug
from flows.saved_queries import Match
from index.generation import Manifest
from index.hits import clock, harmless
from pipeline.archive import Archive
from pipeline.report import Report
from pipeline.timetable import Schedule

MOST_ROWS = 200
LONGEST_NAME, LONGEST_SENTENCE = 100, 1000
_LOOK_ALIKES = str.maketrans("<>\"'`|[]*~\\", "‹›”’ˋ¦()∗∼∖")
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_MEANT = re.compile(r"(?i)(?<=&)(?=[#\w])|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=javascript)(?=:)|(?<=@)")
_JOINER = "\u2060"
"""Has no width: it takes entities and links apart for the machine, and not for the eye."""


@dataclass(frozen=True)
class Night:
    """One run of `ingest`, as far as its report needs it."""

    archive: Archive
    report: Report
    engine: str
    fresh: Mapping[str, str]
    """asset_id → path, of what is new."""
    refused: Sequence[tuple[str, str, str]]
    """Path, state and reason of each file that was not (wholly) indexed."""
    published: str | None
    manifest: Manifest | None
    """Of the generation in force; None: there is none yet."""
    matches: Sequence[Match] = ()
    """Saved questions that new moments answer."""

    @property
    def name(self) -> str:
        """Return the archive's name in Prefect."""
        return slug(self.archive.root)


def shown(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text that others have written so that it is only a text, wherever the Prefect UI shows it.

    What is longer than `longest` characters loses its middle.
    """
    plain = _EMPHASIS.sub("ˍ", harmless(text).translate(_LOOK_ALIKES))
    if len(plain) > longest:
        plain = f"{plain[: longest // 2 - 1]} … {plain[-longest // 2 :]}"
    return _MEANT.sub(_JOINER, plain)


def outcomes(night: Night) -> list[dict[str, Any]]:
    """Return how many assets ended in each state, and why."""
    of = Counter((state, reason.partition(":")[0]) for _, state, reason in night.refused)
    others = night.report.reasons - Counter({reason: n for (_, reason), n in of.items()})
    of.update({("skipped", reason): n for reason, n in others.items()})
    told = Counter[str]()
    for (state, _), n in of.items():
        told[state] += n
    of.update({(state, ""): n for state, n in (night.report.states - told).items()})
    rows = sorted(of.items(), key=lambda each: (-each[1], each[0]))
    return [{"assets": n, "outcome": state, "reason": shown(reason)} for (state, reason), n in rows]


def quarantined(files: Sequence[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Return rows for files (path, state, reason); the last says how many more there are."""
    rows = [{"outcome": state, "reason": shown(reason), "file": shown(uri)} for uri, state, reason in files[:MOST_ROWS]]
    if more := len(files) - MOST_ROWS:
        rows += [{"outcome": "", "reason": "", "file": f"and {more} more: `rushes quarantine`"}] if more > 0 else []
    return rows


def generation_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what is in a generation: a row for each list, with what its searches find of what an exact one would."""
    return [
        {
            "moments": entry.n_moments,
            "modality": entry.modality,
            "recall@10": ", ".join(f"{kind} {recall.share:.3f}" for kind, recall in entry.recalls.items()) or "–",
            "plan": entry.plan,
            "space": entry.space,
        }
        for entry in manifest.lists
    ]


def leave(night: Night, dashboard: str = "") -> None:
    """Leave the artifacts of a run in the Prefect UI, under keys that stay the same from night to night.

    Args:
        night: the run.
        dashboard: address of the Ray dashboard; empty: there is none.
    """
    from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

    name, held = night.name, quarantine_of(night.archive)
    create_table_artifact(outcomes(night), f"outcomes-{name}", "How many assets ended in which state, and why.")
    told = f"{len(held)} files that were not (wholly) indexed."
    tables = {"Quarantine": create_table_artifact(quarantined(held), f"quarantine-{name}", told)}
    if night.manifest is not None:
        told = f"{night.manifest.generation}, the index in force, made by the profile {night.manifest.profile}."
        tables["Generation"] = create_table_artifact(generation_rows(night.manifest), f"generation-{name}", told)
    links = {what: f"../artifact/{artifact}" for what, artifact in tables.items()}
    if dashboard:
        links["Ray dashboard"] = dashboard
    for what, address in links.items():
        key = f"to-{what.lower().replace(' ', '-')}-{name}"
        create_link_artifact(address, what, key, f"Leads to it: {what.lower()} of {name}.")
    create_markdown_artifact(page(night, links), f"report-{name}", "What the last run did, and what is new.")


def sized(n_files: int, n_bytes: int) -> str:
    """Return a number of files and their size for people."""
    size = f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
    return f"{n_files} file{'s' * (n_files != 1)}, {size}"


def page(night: Night, links: Mapping[str, str]) -> str:
    """Return the report, as markdown.

    Args:
        night: the run.
        links: name → address, of what the report leads to; relative ones hold in both UIs and behind any proxy.
    """
    parts = [
        _summary(night),
        _links(links),
        _news(night),
        _matches(night),
        _speed(night),
        _refused(night),
        _index(night),
    ]
    return "\n\n".join(part for part in parts if part)


def _summary(night: Night) -> str:
    report = night.report
    counts = ", ".join(f"{n} {state}" for state, n in report.states.most_common()) or "the sources are empty"
    lines = [f"# {night.name}{f' · {night.published}' if night.published else ''}", f"**{counts}.**"]
    took = f"{clock(report.seconds)} on the engine {night.engine}, {report.gpu_seconds / 3600:.2f} GPU hours"
    if report.media_seconds:
        rate = report.media_seconds / max(report.seconds, 1e-9)
        took = f"{clock(report.media_seconds)} of film and sound in {took}: {rate:.1f} hours of media an hour"
    lines.append(f"{took}.")
    if report.left_out:
        lines.append(f"Left out as invented: {report.doubts}.")
    if report.stopped:
        lines.append(f"It stopped because {report.stopped}.")
    if report.n_left:
        lines.append(f"{sized(report.n_left, report.left_bytes)}: left to the next run{_by(night)}.")
    return "\n\n".join(lines)


def _by(night: Night) -> str:
    nights = night.report.nights_left
    if not nights:
        return ""
    on = done_on(night.archive.settings.schedule, nights, datetime.now(UTC))
    return f"; at this speed all is done in {nights} more nights{f', on {on}' if on else ''}"


def done_on(schedule: Schedule, nights: int, now: datetime) -> str:
    """Return the day of the schedule's n-th run from now, as YYYY-MM-DD; empty where nothing is scheduled."""
    from cronsim import CronSim

    if not schedule.nightly:
        return ""
    runs = CronSim(schedule.nightly, now.astimezone(ZoneInfo(schedule.time_zone)))
    last = next(islice(runs, nights - 1, None), None)
    return f"{last:%Y-%m-%d}" if last else ""


def _links(links: Mapping[str, str]) -> str:
    return " · ".join(f"[{name}]({address})" for name, address in links.items())


def _news(night: Night) -> str:
    chosen = cells(night.archive, night.fresh)
    if not night.fresh:
        return ""
    head = f"## What is new\n\n{len(night.fresh)} file{'s' * (len(night.fresh) != 1)}."
    if not chosen:
        return head
    listed = "\n".join(
        f"{n}. {shown(cell.uri)}{f' at {clock(cell.start_seconds)}' if cell.stop_seconds else ''}"
        for n, cell in enumerate(chosen, 1)
    )
    return f"{head}\n\n![small pictures of the new moments]({sheet(chosen)})\n\n{listed}"


def _matches(night: Night) -> str:
    if not night.matches:
        return ""
    rows = (
        (shown(match.question.words), f"{match.hit.score:.2f}", clock(match.hit.start_seconds), shown(match.hit.uri))
        for match in night.matches[:MOST_ROWS]
    )
    return f"## Saved questions\n\n{_table(('question', 'score', 'at', 'file'), rows)}"


def _speed(night: Night) -> str:
    report = night.report
    seconds = {stage: spent for stage, spent in report.stage_seconds.items() if spent >= 0.05}
    if not seconds:
        return ""
    rows = (
        (stage, f"{spent:.1f} s", f"{report.media_seconds / spent:.1f}" if report.media_seconds else "–")
        for stage, spent in seconds.items()
    )
    told = "Stages run side by side: their times add up to more than the run's."
    return f"## Speed\n\n{told}\n\n{_table(('stage', 'time', 'hours of media an hour'), rows)}"


def _refused(night: Night) -> str:
    if not night.refused:
        return ""
    rows = ((row["outcome"], row["reason"], row["file"]) for row in quarantined(night.refused))
    return f"## Not (wholly) indexed\n\n{_table(('outcome', 'reason', 'file'), rows)}"


def _index(night: Night) -> str:
    if night.manifest is None:
        return ""
    told = "new" if night.published else "in force since before, and still right"
    rows = (tuple(str(value) for value in row.values()) for row in generation_rows(night.manifest))
    columns = ("moments", "modality", "recall@10", "plan", "space")
    return f"## Index\n\n{night.manifest.generation}, {told}.\n\n{_table(columns, rows)}"


def _table(columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    head = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def quarantine_of(archive: Archive) -> list[tuple[str, str, str]]:
    """Return path, state and reason of everything in an archive that was not (wholly) indexed."""
    from flows.commands import NOT_INDEXED
    from pipeline.store.tables import Tables

    rows = [row for row in Tables(archive.tables).assets() if row.outcome in NOT_INDEXED]
    return sorted((place.uri, str(row.outcome), row.reason) for row in rows for place in row.locations)

"""A whole ingest as a job on a Ray cluster, through its Jobs API: submitted once, found again, followed, stopped.

The job's driver runs on the cluster (`driver`), where a network that breaks does not end it. Its name comes from the
flow run, so whoever asks again under that name, after a restart too, gets the job that is there. The archive has to lie
where the cluster sees it under the same path, and its lock is held over there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.archive import Archive
from pipeline.budget import Budget
from pipeline.errors import ArchiveError
from pipeline.executors.cluster import environment, keep_token_private
from pipeline.executors.driver import ORDER, Order
from pipeline.executors.joblog import lines
from pipeline.executors.telling import hear
from pipeline.report import Report, Watcher

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

PREFIX = "rushes-"
ENTRYPOINT = "python -m pipeline.executors.driver"
STOP_SECONDS, CONNECT_SECONDS = 12.0, 15.0
SAID = 300
"""Characters of what Ray says that go into a sentence."""
OVERRIDING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Variables that Ray prefers to the address it is given."""


def submission_id(run_id: str) -> str:
    """Return the name of the job of a flow run."""
    return f"{PREFIX}{run_id}"


def ingest_on_cluster(
    archive: Archive, run_id: str, watcher: Watcher, *, limit: int | None = None, budget: Budget | None = None,
    first: Sequence[str] = (), stable_seconds: float = 0.0,
) -> Report:  # fmt: skip
    """Ingest on the cluster at `settings.ray.address`: what `pipeline.ingest.ingest` does, over there.

    Submits a job, or finds the one that an earlier call under this `run_id` has submitted, and follows it to its end.
    One that failed or was stopped is not found again but submitted anew. An interruption (Ctrl-C, or any signal that
    raises other than an Exception) stops the job; a connection that breaks does not.

    Args:
        archive: the archive; its lock is not held by the caller.
        run_id: of the flow run.
        watcher: told of progress, from the job's log; after a restart, of all of it again.
        limit: as in `ingesting`, as are the others.
        budget: where work stops cleanly.
        first: what comes first.
        stable_seconds: how long a file has to be left alone.

    Raises:
        ArchiveError: the cluster cannot be reached, or the job died.
        RushesError: what ended the ingest over there.
    """
    client = _client(archive.settings.ray.address)
    stops_at = budget.stops_at.isoformat() if budget and budget.stops_at else None
    max_gpu_seconds = budget.max_gpu_seconds if budget else None
    order = Order(str(archive.root), limit, tuple(first), stops_at, max_gpu_seconds, stable_seconds)
    name = _submitted(client, run_id, order)
    try:
        return _followed(client, name, watcher)
    except BaseException as exc:
        if not isinstance(exc, Exception):
            with suppress(ArchiveError):  # who cannot reach it has it reaped
                _stop(client, name)
        raise


def stop(address: str, run_id: str) -> bool:
    """Stop the job of a flow run, within 15 seconds; return whether one was running. What it has committed stays.

    Raises:
        ArchiveError: the cluster cannot be reached.
    """
    client = _client(address)
    stopped = [_stop(client, job.submission_id) for job in _attempts(client, run_id) if not _is_over(job)]
    return any(stopped)


def reap(address: str, is_over: Callable[[str], bool]) -> list[str]:
    """Stop the jobs whose flow run is over; return the ids of those flow runs.

    Args:
        address: of the cluster.
        is_over: tells so for the id of a flow run.

    Raises:
        ArchiveError: the cluster cannot be reached.
    """
    client = _client(address)
    lost = []
    for job in _jobs(client):
        run_id = (job.submission_id or "").removeprefix(PREFIX).partition(".")[0]
        if (job.submission_id or "").startswith(PREFIX) and not _is_over(job) and is_over(run_id):
            _stop(client, job.submission_id)
            lost.append(run_id)
    return lost


def _client(address: str) -> JobSubmissionClient:
    """Return a client for exactly this address."""
    if not address.startswith(("http://", "https://")):
        raise ArchiveError(f'address = {address!r} is no Jobs API; write it in rushes.toml as "http://head:8265".')
    from ray.job_submission import JobSubmissionClient

    keep_token_private()
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else None
    ends = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            with environment(dict.fromkeys(OVERRIDING)):
                return JobSubmissionClient(address, headers=headers)
        except ConnectionError as exc:  # of a moment, perhaps
            if time.monotonic() > ends:
                raise _unreachable(address, exc) from exc
            time.sleep(1.0)
        except Exception as exc:  # what requests, Ray and JSON raise has no common root
            raise _unreachable(address, exc) from exc


@contextmanager
def _answering(client: JobSubmissionClient) -> Iterator[None]:
    """Turn what requests and Ray raise when a cluster is lost, or cannot answer, into a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as exc:
        raise _unreachable(client.get_address(), exc) from exc


def _jobs(client: JobSubmissionClient) -> list[JobDetails]:
    with _answering(client):
        return list(client.list_jobs())


def _unreachable(address: str, exc: Exception) -> ArchiveError:
    return ArchiveError(
        f"The Ray cluster at {address} does not answer ({_short(exc)}); start it, or correct the address in "
        "rushes.toml, [ray]."
    )


def _token() -> str:
    """Return the cluster's token, from where Ray looks for it."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    try:
        return Path(path).read_text("utf8").strip()
    except OSError:
        return ""


def _attempts(client: JobSubmissionClient, run_id: str) -> list[JobDetails]:
    """Return the jobs of a flow run, the first one first."""
    name = submission_id(run_id)
    jobs = [job for job in _jobs(client) if (job.submission_id or "").partition(".")[0] == name]
    return sorted(jobs, key=lambda job: int((job.submission_id or "").partition(".")[2] or 1))


def _submitted(client: JobSubmissionClient, run_id: str, order: Order) -> str:
    """Return the name of the job that does an order, submitted now or before."""
    attempts = _attempts(client, run_id)
    if attempts and attempts[-1].status in ("PENDING", "RUNNING", "SUCCEEDED"):
        return str(attempts[-1].submission_id)
    name = submission_id(run_id) + (f".{len(attempts) + 1}" if attempts else "")
    try:
        client.submit_job(
            entrypoint=ENTRYPOINT,
            submission_id=name,
            runtime_env={"env_vars": {ORDER: order.as_text()}},
            metadata={"archive": order.archive},
        )
    except Exception as exc:  # it may have arrived all the same
        if name not in [job.submission_id for job in _attempts(client, run_id)]:
            raise ArchiveError(f"Ray took no job ({_short(exc)}); run again.") from exc
    return name


def _followed(client: JobSubmissionClient, name: str, watcher: Watcher) -> Report:
    """Pass on what a job tells until it has ended; return its report."""
    report = None
    with closing(lines(client, name)) as log:
        for line in log:
            report = hear(line, watcher) or report
    if report is None:
        with _answering(client):
            job = client.get_job_info(name)
        raise ArchiveError(
            f"The job {name} ended as {job.status} ({_short(job.message)}); run again: what is done is kept."
        )
    return report


def _stop(client: JobSubmissionClient, name: str | None) -> bool:
    with _answering(client):
        try:
            client.stop_job(str(name))
            ends = time.monotonic() + STOP_SECONDS
            while time.monotonic() < ends and not _is_over(client.get_job_info(str(name))):
                time.sleep(0.2)
        except RuntimeError:
            return False  # it has ended meanwhile
    return True


def _is_over(job: JobDetails) -> bool:
    return bool(job.status.is_terminal())


def _short(text: object) -> str:
    said = " ".join(str(text).split())
    return said if len(said) <= SAID else f"… {said[-SAID:]}"  # the end of a trace is what says most

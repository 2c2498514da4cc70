"""The same stages on Ray Data: parallel decode tasks, long-lived encoders, bounded blocks between them.

One asset is one row. Decode tasks stream their pieces in small blocks; an actor per encoder loads weights once and
batches across assets; back-pressure is Ray Data's. Two of its defaults are turned round: actor pools would retry for
ever, and a block that failed for good would vanish with its neighbours and without a record. Here retries are finite,
decoders never crash a worker (each file has a child process of its own), and an asset whose pieces did not all come
back is not committed but left to the next run.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from pipeline.config import Settings
from pipeline.errors import ArchiveError
from pipeline.executors.stages import Encoding, Job, Made, Result, assemble, decode_job
from pipeline.media import Sampling
from pipeline.recipe import Models, sampling_of

BLOCK_BYTES = 32 << 20
"""About a minute and a half of frames: small enough to keep encoders fed, large enough not to cost."""
PIECES_PER_BATCH = 8
MOST_RETRIES = 3
JOBS_PER_BLOCK = 8
OBJECT_STORE_BYTES = 512 << 20


def run(
    jobs: Iterable[Job], settings: Settings, models: Models, watch: Callable[[Made], None] | None = None
) -> Generator[Result]:
    """Do the jobs on Ray; yield a result for each, in any order. The same contract as `local.run`.

    Uses the cluster that this process is connected to, or the one that RAY_ADDRESS names; starts one on this machine
    if there is none, and stops it in the end.
    """
    import ray

    waiting = {job.asset_id: job for job in jobs}
    if not waiting:
        return
    own = not ray.is_initialized()
    if own:
        _start(ray)
    try:
        yield from _results(waiting, settings, models, watch)
    finally:
        if own:
            ray.shutdown()


def _start(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise ArchiveError(
            f"RAY_ADDRESS = {address} is a Ray Client address, which breaks with the connection; "
            "run `rushes ingest` on the cluster's head node, or without RAY_ADDRESS."
        )
    kwargs: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    # Threads that spin while they wait take the cores from the other workers; see encoders/registry.py.
    kwargs["runtime_env"] = {"env_vars": {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}}
    ray.init(log_to_driver=False, logging_level="error", configure_logging=False, **kwargs)


def _results(
    waiting: dict[str, Job], settings: Settings, models: Models, watch: Callable[[Made], None] | None
) -> Iterator[Result]:
    made_of: dict[str, list[Made]] = {asset_id: [] for asset_id in waiting}
    missing: dict[str, int] = {}  # pieces that are known to be still on their way
    for made in _stream(list(waiting.values()), settings, models):
        if made.asset_id not in waiting:
            continue  # a retry made it twice
        sofar = made_of[made.asset_id]
        if any(m.ordinal == made.ordinal for m in sofar):
            continue
        sofar.append(made)
        if watch:
            watch(made)
        if made.last:
            missing[made.asset_id] = made.ordinal + 1
        if missing.get(made.asset_id) == len(sofar):
            yield assemble(waiting.pop(made.asset_id), made_of.pop(made.asset_id), models, settings.fusion)
    for asset_id, job in waiting.items():
        yield assemble(job, made_of[asset_id][:0], models, settings.fusion)  # incomplete: deferred


def _stream(jobs: list[Job], settings: Settings, models: Models) -> Iterator[Made]:
    """Yield what was made of every piece, as the cluster delivers it."""
    import ray

    context = ray.data.DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells every execution's plan
    n_cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    n_encoders = max(1, n_cpus // 4)
    sampling = sampling_of(settings, models)
    rows = [{"job": pickle.dumps(job)} for job in jobs]
    n_blocks = max(1, min(len(rows), max(2 * n_cpus, len(rows) // JOBS_PER_BLOCK)))
    pieces = ray.data.from_items(rows, override_num_blocks=n_blocks).flat_map(_Decode(sampling), num_cpus=1)
    with warnings.catch_warnings():
        # The way to say these two is deprecated, and there is no other in the releases that we are bound to.
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        made = pieces.map_batches(
            _Encode,
            fn_constructor_args=(models, sampling),
            batch_size=PIECES_PER_BATCH,
            compute=ray.data.ActorPoolStrategy(size=n_encoders),
            num_cpus=0.5,  # decode tasks and encoders share the cores; a whole one each would starve small machines
            max_restarts=MOST_RETRIES,
            max_task_retries=MOST_RETRIES,
        )
    for row in made.iter_rows():
        yield pickle.loads(row["made"])  # noqa: S301 - written by our own workers


class _Decode:
    """The first stage as a function of a row."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        job = pickle.loads(row["job"])  # noqa: S301 - written by our own driver
        for piece in decode_job(job, self.sampling):
            yield {"piece": pickle.dumps(piece, protocol=5)}


class _Encode:
    """The second stage as an actor: weights load once, when they are first used."""

    def __init__(self, models: Models, sampling: Sampling) -> None:
        self.encoding = Encoding(models, sampling)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pieces = [pickle.loads(piece) for piece in batch["piece"]]  # noqa: S301 - written by our own workers
        return {"made": [pickle.dumps(made, protocol=5) for made in self.encoding.encode(pieces)]}

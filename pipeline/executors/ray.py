"""The same stages on Ray: decode tasks in parallel, long-lived encoders, as much in between as memory bears.

The same contract as the local executor. Jobs are taken as there is room for them (`feed`), run as tasks and actors
(`lanes`) on this machine or a cluster (`cluster`), and are put together here as their pieces come back, in any order
and some of them twice. An asset whose pieces did not all come back is not committed but left to the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from pipeline.config import Settings
from pipeline.errors import MediaError
from pipeline.executors.assembling import assemble
from pipeline.executors.cluster import Demands, connected
from pipeline.executors.contract import Pulse
from pipeline.executors.feed import Feed
from pipeline.executors.lanes import Lanes
from pipeline.executors.stages import Job, Made, Result
from pipeline.recipe import Models, sampling_of


def run(
    jobs: Iterable[Job], settings: Settings, models: Models, watch: Callable[[Made], None] | None = None
) -> Generator[Result | Pulse]:
    """Do the jobs on Ray; yield a result for each, in any order. The same contract as `local.run`.

    Uses the cluster that this process is connected to, or the one that RAY_ADDRESS names; starts one on this machine
    if there is none, and stops it in the end.

    Raises:
        ArchiveError: there is no cluster, it died, or it lets nothing run.
    """
    with closing(Feed(jobs)) as feed:
        if not feed.wait():
            return  # nothing to do is no reason to start Ray
        with connected() as ray:
            resources = ray.cluster_resources()
            demands = Demands.on(resources.get("CPU", 1), resources.get("GPU", 0), settings.profile.gpu_share)
            lanes = Lanes(ray, feed, models, sampling_of(settings, models), demands)
            with closing(lanes):
                yield from _results(lanes, settings, models, watch)


def _results(
    lanes: Lanes, settings: Settings, models: Models, watch: Callable[[Made], None] | None
) -> Generator[Result | Pulse]:
    waiting = lanes.feed.taken
    made_of: dict[str, dict[int, Made]] = {}
    n_pieces: dict[str, int] = {}  # of assets whose last piece is here
    pulse = Pulse(lanes.demands.n_encoders * lanes.demands.gpu_share)
    for some in lanes.run():
        yield pulse
        for made in some:
            sofar = made_of.setdefault(made.asset_id, {})
            if made.asset_id not in waiting or made.ordinal in sofar:
                continue  # a retry made it twice, or it is of an asset that has failed
            sofar[made.ordinal] = made
            if watch:
                watch(made)
            if made.last:
                n_pieces[made.asset_id] = made.ordinal + 1
            if n_pieces.get(made.asset_id) == len(sofar) or isinstance(made.news, MediaError):
                pieces = list(made_of.pop(made.asset_id).values())
                yield assemble(waiting.pop(made.asset_id), pieces, models, settings.fusion)
    for job in waiting.values():
        yield assemble(job, (), models, settings.fusion)  # incomplete: deferred

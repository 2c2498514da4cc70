"""What a search answers: hits, best first, for people, for programs and for data frames."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

from encoders.spec import Label

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NARROWEST, WIDEST = 80, 200


@dataclass(frozen=True)
class Hit:
    """One moment that answers a question."""

    rank: int
    """1 is the best."""
    score: float
    """In (0, 1), comparable between modalities: an unrelated question's best hit gets about 0.5."""
    why: str
    """What speaks for it, in words."""
    uri: str
    """Path below its source."""
    asset_id: str
    moment_id: int
    modality: str
    start_seconds: float
    stop_seconds: float
    """The moment is [start_seconds, stop_seconds); both are 0 for a still picture."""
    text: str
    language: str
    labels: tuple[Label, ...]
    thumb: str
    """Where its small picture lies below the archive, as `thumbs/PACK#OFFSET+LENGTH`; empty if it has none."""
    space: str
    track: str = ""
    """Which stream or reader it came from, such as `a:0`, `speech`, `caption`, `ocr`; see `pipeline.media.Moment`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the hit as plain values, ready for JSON."""
        return asdict(self)


class Hits(Sequence[Hit]):
    """Hits, best first. Iterates, prints as a table, turns into Arrow and pandas."""

    def __init__(self, hits: Sequence[Hit], generation: str) -> None:
        self._hits = tuple(hits)
        self.generation = generation
        """The index generation that answered."""

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Hit]: ...
    def __getitem__(self, at: int | slice) -> Hit | Sequence[Hit]:
        return self._hits[at]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __str__(self) -> str:
        if not self._hits:
            return "Nothing found."
        from rich.console import Console

        out = io.StringIO()
        width = min(max(Console().width, NARROWEST), WIDEST)
        Console(file=out, width=width, color_system=None).print(self.as_rich_table())
        return out.getvalue().rstrip()

    __repr__ = __str__

    def as_rich_table(self) -> Any:
        """Return the hits as a rich table; names and quoted words are shown harmless."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column("", justify="right")
        table.add_column("file", overflow="fold", ratio=3)
        table.add_column("time", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("why", ratio=5)
        for hit in self._hits:
            cells = (str(hit.rank), harmless(hit.uri), times(hit), f"{hit.score:.2f}", harmless(hit.why))
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def to_arrow(self) -> pa.Table:
        """Return the hits as a pyarrow table, one row each, columns as the attributes of `Hit`."""
        import pyarrow as pa

        kinds = {
            "rank": pa.int32(), "score": pa.float32(), "why": pa.string(), "uri": pa.string(),
            "asset_id": pa.string(), "moment_id": pa.int64(), "modality": pa.string(),
            "start_seconds": pa.float64(), "stop_seconds": pa.float64(), "text": pa.string(),
            "language": pa.string(),
            "labels": pa.list_(pa.struct([("name", pa.string()), ("score", pa.float32())])),
            "thumb": pa.string(), "space": pa.string(), "track": pa.string(),
        }  # fmt: skip
        return pa.Table.from_pylist([hit.as_dict() for hit in self._hits], schema=pa.schema(list(kinds.items())))

    def to_pandas(self) -> pd.DataFrame:
        """Return the hits as a pandas frame (needs pandas)."""
        return self.to_arrow().to_pandas()


def times(hit: Hit) -> str:
    """Return a moment's interval for people; empty for a still picture."""
    return f"{clock(hit.start_seconds)}-{clock(hit.stop_seconds)}" if hit.stop_seconds else ""


def clock(seconds: float) -> str:
    """Return a time as 1:02:03 or 2:03."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def harmless(text: str) -> str:
    """Return text that cannot move a terminal's cursor or break a line, however it was meant."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

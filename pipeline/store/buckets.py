"""Sources in object stores: S3 and what speaks like it, Google Cloud Storage, Azure, through pyarrow.

Keys are data. A key that a store lists and pyarrow cannot ask for (an empty name between slashes, `.` or `..`, which
HTTP takes for something else) is skipped by name. Access is what the store's own chain finds (environment, files,
the machine's role) and never part of a URI, so that no table, log or parameter can hold it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pipeline.errors import ArchiveError, StoreError
from pipeline.store.discover import Found, found_with, is_left_out, paired
from pipeline.store.schemas import Location

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo, FileSystem

_T = TypeVar("_T")

_S3 = ("endpoint_override", "scheme", "region")
_GCS = ("endpoint_override", "scheme", "retry_limit_seconds")
_AZURE = ("blob_storage_authority", "dfs_storage_authority", "enable_tls")
SCHEMES = {"s3": _S3, "gs": _GCS, "gcs": _GCS, "abfs": _AZURE, "abfss": _AZURE}
"""Scheme → what its URIs may say after the question mark; pyarrow knows more, secrets among it."""
BLOCK_BYTES = 8 << 20
"""What one request reads."""
PATIENCE_SECONDS = 60.0
"""When failures in a row have cost so long, a store is not asked again until it is listed again."""
_UNASKABLE = frozenset({"", ".", ".."})
"""Names in a path that HTTP and pyarrow take for something else."""


@dataclass(frozen=True)
class Bucket:
    """A prefix of an object store, with all that lies below it."""

    base: str
    """Its URI, percent-encoded, without a slash at the end and what follows a question mark."""
    query: str = ""
    """The question mark and what follows it; part of the URI of every object, which can be read by that alone."""

    @classmethod
    def at(cls, uri: str) -> Bucket:
        """Return the bucket that a URI names; asks nobody.

        Raises:
            ArchiveError: the scheme is not known, or the URI holds a password or something that means nothing.
        """
        shown = re.sub(r"//[^/]*@", "//", uri.partition("?")[0])
        try:
            parts = urlsplit(uri)
            said = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))]
        except ValueError:
            raise ArchiveError(f"The source {shown} is no URI; write it as s3://BUCKET/PREFIX.") from None
        if parts.scheme not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ArchiveError(f"The source {shown} has a scheme that is not known; name a folder, or one of {known}.")
        user, _, bucket = parts.netloc.rpartition("@")
        if user and not _is_harmless(parts.scheme, user):
            raise ArchiveError(
                f"The source {shown} has a name or password before its @; take it out, and give access by the "
                "environment (such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or the machine's role."
            )
        if strange := next((key for key in said if key not in SCHEMES[parts.scheme]), None):
            raise ArchiveError(
                f"The source {shown} says {strange!r} after its question mark; it may say "
                f"{', '.join(SCHEMES[parts.scheme])}, and what gives access belongs into the environment."
            )
        if not bucket or parts.fragment:
            raise ArchiveError(f"The source {shown} names no bucket, or has a #; write # as %23 in a prefix.")
        path = quote(unquote(parts.path)).rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{path}", f"?{parts.query}" if parts.query else "")

    def check(self) -> None:
        """Ask whether there is something at the prefix.

        Raises:
            ArchiveError: there is nothing, or the store cannot be reached.
        """
        with self._asking():
            store = _store_of(self.base + self.query)
            if store.info(self.base).type.name == "NotFound":
                raise FileNotFoundError

    def list(self) -> Iterator[Found]:
        """Yield every object below the prefix, folder by folder; see `Source.list`.

        All is listed before the first is yielded: half a listing would read as deletions. A million objects are about
        1000 requests and 200 MB.
        """
        with self._asking():
            root, objects = _store_of(self.base + self.query).below(self.base)
        objects.sort(key=lambda info: info.path.rpartition("/")[::2])  # not every store lists in order
        for folder, within in groupby(objects, key=lambda info: info.path.rpartition("/")[0]):
            yield from self._folder(folder, list(within), len(root) + 1)

    def _folder(self, folder: str, objects: Sequence[FileInfo], below: int) -> Iterator[Found]:
        if any(is_left_out(name) for name in folder[below:].split("/")):
            return
        is_askable = _UNASKABLE.isdisjoint(folder.split("/")[1:])
        places = {info.base_name: self._place(info, below) for info in objects if not is_left_out(info.base_name)}
        beside, of_nothing = paired(places)
        for name, place in places.items():
            if not is_askable or name in _UNASKABLE:
                yield Found(place, skip="unreadable_name")
            elif name in of_nothing:
                yield Found(place, skip="sidecar_of_nothing")
            elif name in beside:
                yield found_with(place, [places[sidecar] for sidecar in beside[name]])

    def _place(self, info: FileInfo, below: int) -> Location:
        key = info.path[below:]
        return Location(key, f"{self.base}/{quote(key)}{self.query}", info.size, info.mtime_ns or 0)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise ArchiveError(
                f"There is nothing at the source {self.base}, so nothing was changed; correct sources in rushes.toml, "
                f"or, if it is meant to be empty, put an empty object there whose name ends in /."
            ) from None
        except (OSError, ValueError) as exc:
            raise ArchiveError(
                f"The source {self.base} cannot be listed ({_words(exc)}); check network, endpoint and access, and run "
                "it again: nothing was changed."
            ) from exc


def read(place: Location) -> Iterator[bytes]:
    """Yield an object's content in blocks; what was yielded before an error is of no use.

    Raises:
        StoreError: it is not there, is not what was listed, changed while it was read, or the store does not answer.
    """
    store = _store_of(place.location)
    with store.asked(lambda: store.open(place.location)) as file:
        before, n_bytes = store.asked(lambda: (file.metadata(), file.size()))
        if n_bytes != place.size:
            raise StoreError("changed", f"it has {n_bytes} bytes and had {place.size} when it was listed")
        while block := store.asked(lambda: file.read(BLOCK_BYTES)):
            n_bytes -= len(block)
            yield block
    with store.asked(lambda: store.open(place.location)) as again:
        after = store.asked(again.metadata)  # its ETag is in it, where there are any: times are told by the second
    info = store.asked(lambda: store.info(place.location))
    if n_bytes or after != before or (info.size, info.mtime_ns or 0) != (place.size, place.mtime_ns):
        raise StoreError("changed", "it changed since it was listed")


class _Store:
    """What this process knows of one bucket: a connection, and whether it has answered lately."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lost_seconds = 0.0

    def below(self, base: str) -> tuple[str, list[FileInfo]]:
        """Return the path of a prefix, and every object below it."""
        from pyarrow.fs import FileSelector

        self._lost_seconds = 0.0
        root = self._path(base)
        # allow_not_found would also let a bucket that does not exist read as an empty one
        infos = self._files.get_file_info(FileSelector(root, recursive=True))
        if not infos and root == self._connection[1]:
            raise FileNotFoundError  # pyarrow raises it for prefixes; here too an answer without a body reads so
        return root, [info for info in infos if info.is_file]

    def info(self, location: str) -> FileInfo:
        """Return what the store says about an object or a prefix."""
        return self._files.get_file_info(self._path(location))

    def open(self, location: str) -> NativeFile:
        """Open an object."""
        return self._files.open_input_file(self._path(location))

    def asked(self, question: Callable[[], _T]) -> _T:
        """Ask the store something, unless it has kept us waiting for too long; its errors become ours."""
        if self._lost_seconds >= PATIENCE_SECONDS:
            raise StoreError("store_error", "its store did not answer before, and was not asked again")
        began = time.monotonic()
        try:
            answer = question()
        except FileNotFoundError as exc:
            raise StoreError("vanished", "it is no longer there") from exc
        except (OSError, ValueError) as exc:
            self._lost_seconds += time.monotonic() - began
            raise StoreError("store_error", _words(exc)) from exc
        self._lost_seconds = 0.0
        return answer

    def _path(self, location: str) -> str:
        return self._connection[1] + unquote(urlsplit(location).path)

    @property
    def _files(self) -> FileSystem:
        return self._connection[0]

    @cached_property
    def _connection(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import FileSystem

        files, bucket = FileSystem.from_uri(self._uri)
        return files, bucket


def _store_of(location: str) -> _Store:
    parts = urlsplit(location)
    return _store(f"{parts.scheme}://{parts.netloc}{'?' if parts.query else ''}{parts.query}")


@lru_cache
def _store(uri: str) -> _Store:
    return _Store(uri)


def _is_harmless(scheme: str, user: str) -> bool:
    """Tell whether what stands before the @ gives nobody access: Azure's container, or that one comes anonymously."""
    return ":" not in user if scheme.startswith("abfs") else scheme != "s3" and user == "anonymous"


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:500]

"""Do the tables, the generation in force and the packs of pictures agree? Each damage is one sentence with its cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from index.generation import current, read_manifest, rolled_back
from pipeline.archive import Archive
from pipeline.errors import RushesError
from pipeline.store.tables import Tables


def damages(archive: Archive) -> Iterator[str]:
    """Yield what is wrong with an archive; nothing if all is well."""
    tables = Tables(archive.tables)
    cure = f"run `rushes index {archive.root} --rebuild`"
    try:
        moments = tables.moments(columns=["moment_id", "modality", "space", "thumb"])
    except Exception as error:  # whatever a damaged table makes the reader say
        yield f"The tables cannot be read ({error}); restore {archive.tables} from a copy, or ingest anew."
        return
    ids = list(zip(moments["moment_id"].to_pylist(), moments["space"].to_pylist(), strict=True))
    if doubled := [key for key, n in Counter(ids).items() if n > 1]:
        yield f"{len(doubled)} moments are in the tables more than once, such as {doubled[0][0]}; ingest anew."
    yield from _missing_pictures(archive, moments["thumb"].to_pylist())
    if errands := tables.forgotten.errands():
        told = f"Forgetting {len(errands)} files, such as {errands[0].asset_id}, was not finished: nobody finds them,"
        yield f"{told} but not all of their bytes are removed; run `rushes maintain {archive.root}`."
        return  # an index that still holds them says nothing
    try:
        manifest = read_manifest(current(archive.index))
    except RushesError as error:
        yield str(error)
        return
    if rolled_back(archive.index):
        return  # somebody wants it older than the tables
    if dict(manifest.tables) != tables.versions():
        yield f"{manifest.generation} is older than the tables; run `rushes ingest {archive.root}`."
        return
    stored = Counter(zip(moments["modality"].to_pylist(), moments["space"].to_pylist(), strict=True))
    indexed = {(entry.modality, entry.space): entry.n_moments for entry in manifest.lists}
    for key in sorted(stored.keys() | indexed.keys()):
        if stored[key] != indexed.get(key, 0):
            yield f"{manifest.generation} has {indexed.get(key, 0)} of {stored[key]} {key[0]} moments; {cure}."


def _missing_pictures(archive: Archive, thumbs: list[dict[str, object] | None]) -> Iterator[str]:
    reach: dict[str, int] = {}
    for thumb in thumbs:
        if thumb and thumb["pack"]:
            pack = str(thumb["pack"])
            reach[pack] = max(reach.get(pack, 0), int(str(thumb["offset"])) + int(str(thumb["length"])))
    for pack, n_bytes in sorted(reach.items()):
        path = archive.thumbs / pack
        found = path.stat().st_size if path.is_file() else 0
        if found < n_bytes:
            yield f"{path} has {found} of {n_bytes} bytes; its small pictures are lost until their files are redone."

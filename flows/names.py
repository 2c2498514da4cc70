"""How an archive is called in Prefect: a word that people recognise and no other archive has."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def slug(root: Path) -> str:
    """Return the name of an archive's deployments, tags and events: its folder's name, and a hash of its place.

    Lower-case letters, digits and dashes, as artifact keys want them; the same for as long as the archive stays there.
    """
    place = root.resolve().as_posix()
    word = re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "archive"
    return f"{word[:40]}-{hashlib.blake2b(place.encode('utf8', 'surrogateescape'), digest_size=3).hexdigest()}"

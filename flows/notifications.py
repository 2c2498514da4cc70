"""What object stores send when something was put into a bucket: which object it was, and nothing else.

    S3, MinIO          {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": …, "object": …}}]}
    the same by SNS    {"Type": "Notification", "Message": "<the above, as text>"}
    GCS by Pub/Sub     {"message": {"attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": …, "objectId": …}}}

Nothing that a notification names is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from index.hits import harmless
from pipeline.errors import RushesError

S3, GCS = frozenset({"s3", "s3a"}), frozenset({"gs", "gcs"})
MOST_RECORDS = 10_000


class NotificationError(RushesError):
    """A body is no notification that means something here."""


@dataclass(frozen=True)
class Put:
    """An object that was put into a bucket."""

    schemes: frozenset[str]
    bucket: str
    key: str

    def below(self, source: str) -> str | None:
        """Return the object's path below a source, the URI of a bucket or a prefix; None: it does not lie there."""
        try:
            place = urlsplit(source)
        except ValueError:
            return None
        prefix = unquote(place.path).strip("/")
        if place.scheme.lower() not in self.schemes or place.netloc != self.bucket:
            return None
        if not prefix:
            return self.key
        return self.key.removeprefix(f"{prefix}/") if self.key.startswith(f"{prefix}/") else None


def puts(body: bytes) -> tuple[Put, ...]:
    """Return the objects that a notification says were put; empty where it tells of something else.

    Raises:
        NotificationError: it is none.
    """
    said = _json(body)
    if said.get("Type") == "SubscriptionConfirmation":
        topic, token = (harmless(str(said.get(key, "")))[:600] for key in ("TopicArn", "Token"))
        raise NotificationError(
            "Rushes opens no address that a message names, so the subscription is not confirmed; do it with "
            f"`aws sns confirm-subscription --topic-arn {topic} --token {token}`."
        )
    if said.get("Type") == "Notification":
        said = _json(_of(said, "Message", str).encode("utf8", "replace"))
    if "Records" in said:
        records = _of(said, "Records", list)
        if len(records) > MOST_RECORDS:
            raise NotificationError(f"{len(records)} records are more than the {MOST_RECORDS} that are taken at once.")
        return tuple(put for record in records for put in _of_s3(record))
    if "message" in said:
        return tuple(_of_gcs(_of(_of(said, "message", dict), "attributes", dict)))
    if said.get("Event") == "s3:TestEvent":
        return ()
    raise NotificationError("The body is no notification of S3, MinIO, SNS or Pub/Sub; see the README for what is.")


def _of_s3(record: Any) -> Iterator[Put]:
    if not isinstance(record, dict):
        raise NotificationError("A record is no JSON object; send what S3 sends.")
    if not _of(record, "eventName", str).removeprefix("s3:").startswith(("ObjectCreated:", "ObjectRestore:Completed")):
        return
    there = _of(record, "s3", dict)
    bucket = _of(_of(there, "bucket", dict), "name", str)
    yield Put(S3, bucket, unquote_plus(_of(_of(there, "object", dict), "key", str)))


def _of_gcs(attributes: Mapping[str, Any]) -> Iterator[Put]:
    if _of(attributes, "eventType", str) == "OBJECT_FINALIZE":
        yield Put(GCS, _of(attributes, "bucketId", str), _of(attributes, "objectId", str))


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as exc:  # no UTF-8, no JSON, numbers without end, nested without end
        raise NotificationError("The body is no JSON; send what S3, MinIO, SNS or Pub/Sub send.") from exc
    if not isinstance(said, dict):
        raise NotificationError("The body is JSON, but no object; send what S3, MinIO, SNS or Pub/Sub send.")
    return said


def _of(said: Mapping[str, Any], key: str, kind: type) -> Any:
    value = said.get(key)
    if not isinstance(value, kind):
        raise NotificationError(f"{key!r} in the body is no {kind.__name__}; send what S3, MinIO, SNS or Pub/Sub send.")
    return value

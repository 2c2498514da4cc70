"""Notifications of object stores: who may send them, what they may be, and which archive they are about."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows import receiver as module
from flows.notifications import GCS, S3, NotificationError, Put, puts
from flows.receiver import LARGEST_BODY, MOST_AT_ONCE, PATH, Receiver, ReceiverError, read_secret
from flows.watch import Watched, _Listening
from tests.flows.serving import free_port, until

SECRET = "s3cret-" * 5


def s3(bucket: str, *keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    records = [
        {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}}} for key in keys
    ]
    return {"Records": records}


def gcs(bucket: str, name: str, kind: str = "OBJECT_FINALIZE") -> dict[str, Any]:
    attributes = {"eventType": kind, "bucketId": bucket, "objectId": name}
    return {"message": {"attributes": attributes, "data": "e30=", "messageId": "1"}, "subscription": "projects/p/s/x"}


def sns(said: Any) -> dict[str, Any]:
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(said)}


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (s3("b", "a+film%2C+cut.mp4"), [Put(S3, "b", "a film, cut.mp4")]),
        (s3("b", "x", "y", name="s3:ObjectCreated:CompleteMultipartUpload"), [Put(S3, "b", "x"), Put(S3, "b", "y")]),
        (s3("b", "x", name="ObjectRemoved:Delete"), []),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}, []),
        (sns(s3("b", "x")), [Put(S3, "b", "x")]),
        (sns({"Service": "Amazon S3", "Event": "s3:TestEvent"}), []),
        (gcs("b", "a film, cut+1.mp4"), [Put(GCS, "b", "a film, cut+1.mp4")]),
        (gcs("b", "x", "OBJECT_DELETE"), []),
        (s3("b", "..%2F..%2Fetc%2Fpasswd"), [Put(S3, "b", "../../etc/passwd")]),  # a name, and never more
    ],
)
def test_what_stores_send_is_understood(said, what):
    assert list(puts(json.dumps(said).encode())) == what


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'"x"', b"[" * 100_000, b'{"a":' * 50_000, b'{"Records": {}}',
        b'{"Records": [1]}', b'{"Records": [{}]}', b'{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": "b", "object": {"key": "k"}}}]}',
        b'{"Records": [{"eventName": 1, "s3": {}}]}', b'{"message": {}}', b'{"message": {"attributes": []}}',
        b'{"Type": "Notification"}', b'{"Type": "Notification", "Message": "{"}',
        json.dumps(sns(sns(s3("b", "x")))).encode(), json.dumps(s3("b", *["x"] * 10_001)).encode(),
        b'{"Records": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_garbage_is_refused_in_one_sentence(body):
    with pytest.raises(NotificationError) as caught:
        puts(body)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 300


def test_a_subscription_is_not_confirmed_and_it_says_how_to():
    said = {"Type": "SubscriptionConfirmation", "TopicArn": "arn:x", "Token": "t0", "SubscribeURL": "http://127.0.0.1/"}
    with pytest.raises(NotificationError, match=r"opens no address.*--topic-arn arn:x --token t0"):
        puts(json.dumps(said).encode())


@pytest.mark.parametrize(
    ("source", "put", "name"),
    [
        ("s3://b", Put(S3, "b", "x/y.mp4"), "x/y.mp4"),
        ("s3://b/films/", Put(S3, "b", "films/y.mp4"), "y.mp4"),
        ("s3://b/my%20films?region=eu", Put(S3, "b", "my films/y.mp4"), "y.mp4"),
        ("s3://b/films", Put(S3, "b", "films2/y.mp4"), None),
        ("s3://b/films", Put(S3, "b", "films"), None),
        ("s3://other", Put(S3, "b", "y.mp4"), None),
        ("gs://b", Put(S3, "b", "y.mp4"), None),
        ("gs://b/p", Put(GCS, "b", "p/y.mp4"), "y.mp4"),
        ("/b", Put(S3, "b", "y.mp4"), None),
    ],
)
def test_an_object_lies_in_the_source_that_holds_its_bucket_and_prefix(source, put, name):
    assert put.below(source) == name


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[Receiver, list[Put], list[str]]]:
    taken: list[Put] = []
    said: list[str] = []
    receiver = Receiver(f"127.0.0.1:{free_port()}", SECRET, taken.extend, said.append)
    yield receiver, taken, said
    receiver.close()


@pytest.fixture
def received(listening) -> tuple[Receiver, list[Put], list[str]]:
    """A receiver, with what it has handed on and what it has said."""
    receiver, taken, said = listening
    for each in (taken, said, receiver._said):
        each.clear()
    return receiver, taken, said


def send(receiver: Receiver, body: Any, path: str = PATH, method: str = "POST", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*receiver.server_address, timeout=30)
    with contextlib.closing(connection):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, raw, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


BASIC = base64.b64encode(f"any:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH, {"Authorization": f"Bearer {SECRET}"}, 204),
        (PATH, {"Authorization": f"bearer {SECRET}"}, 204),
        (PATH, {"Authorization": f"Basic {BASIC}"}, 204),
        (PATH, {"X_Rushes_Secret": SECRET}, 204),
        (f"{PATH}?secret={SECRET}", {}, 204),
        (PATH, {}, 401),
        (PATH, {"Authorization": SECRET}, 401),
        (PATH, {"Authorization": "Bearer "}, 401),
        (PATH, {"Authorization": f"Bearer {SECRET}x"}, 401),
        (PATH, {"Authorization": f"Bearer {SECRET[:-1]}"}, 401),
        (PATH, {"Authorization": "Basic !"}, 401),
        (PATH, {"X_Rushes_Secret": ""}, 401),
        (PATH, {"X_Rushes_Secret": "ä"}, 401),
        (f"{PATH}?secret=", {}, 401),
        ("/", {"Authorization": f"Bearer {SECRET}"}, 404),
        ("/notifications/../x", {"Authorization": f"Bearer {SECRET}"}, 404),
    ],
)
def test_only_who_knows_the_secret_is_heard(received, path, headers, status):
    receiver, taken, said = received
    answer, text = send(receiver, s3("b", "x"), path, **headers)
    assert answer == status
    assert len(taken) == (status == 204)
    assert SECRET not in text + "".join(said)


def test_sizes_lengths_and_methods_are_bounded(received):
    receiver, taken, _ = received
    key = {"X_Rushes_Secret": SECRET}
    assert send(receiver, b" " * (LARGEST_BODY + 1), **key)[0] == 413
    assert send(receiver, b"", Content_Length="9" * 5000, **key)[0] == 413
    assert send(receiver, b"", Content_Length="-1", **key)[0] == 400
    assert send(receiver, b"", Transfer_Encoding="chunked", **key)[0] == 400
    assert send(receiver, b"{}", **key)[0] == 400
    assert send(receiver, b"", method="GET", **key)[0] == 501
    assert send(receiver, s3("b", "x") | {"padding": " " * (LARGEST_BODY - 300)}, **key)[0] == 204
    assert len(taken) == 1


def test_trouble_of_one_kind_is_told_once_a_minute(received):
    receiver, _, said = received
    for _ in range(5):
        assert send(receiver, s3("b", "x"))[0] == 401
        assert send(receiver, b"{}", X_Rushes_Secret=SECRET)[0] == 400
    assert len(said) == 2
    assert "did not show the secret" in said[0]


def test_senders_that_dawdle_are_cut_off_and_too_many_are_turned_away(received, monkeypatch):
    receiver, taken, said = received
    monkeypatch.setattr(module, "LONGEST_SECONDS", 3.0)
    idle = [socket.create_connection(receiver.server_address) for _ in range(MOST_AT_ONCE)]
    try:
        until(lambda: receiver._room._value == 0, 20)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            send(receiver, s3("b", "x"), X_Rushes_Secret=SECRET)
        assert "turned away" in said[0]
        dawdling = idle[0]
        dawdling.settimeout(20)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 10:
                dawdling.sendall(b"P")  # one byte after the other
                time.sleep(0.1)
        assert time.monotonic() - began < 8
        until(lambda: receiver._room._value == MOST_AT_ONCE, 20)
        assert send(receiver, s3("b", "x"), X_Rushes_Secret=SECRET)[0] == 204
        assert len(taken) == 1
    finally:
        for each in idle:
            each.close()


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    file = tmp_path / "home/receiver"
    secret = read_secret(file)
    assert len(secret) >= 32
    assert read_secret(file) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    read_secret(file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("\n")
    with pytest.raises(ReceiverError, match="remove it"):
        read_secret(file)


def test_archives_that_listen_get_what_lies_in_their_sources(make_archive, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("RUSHES_HOME", str(tmp_path / "home"))
    endpoint = f"127.0.0.1:{free_port()}"
    archive = make_archive()
    toml = archive.root / "rushes.toml"
    sources = f'sources = ["{tmp_path / "source"}", "s3://b/films"]'
    lines = [sources if line.startswith("sources") else line for line in toml.read_text().splitlines()]
    toml.write_text(
        "\n".join(lines).replace('listen = ""', f'listen = "{endpoint}"').replace("watch = true", "watch = false")
    )
    watched = Watched(archive.root)
    watched.read()
    stop = threading.Event()
    thread = threading.Thread(target=_Listening([watched]).run, args=(stop,))
    thread.start()
    try:
        said = until(lambda: capfd.readouterr().err, 30)
        assert f"Notifications are taken at http://{endpoint}{PATH}" in said
        secret = read_secret(tmp_path / "home/receiver")
        host, port = endpoint.split(":")

        def notify(said: Any) -> int:
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", PATH, json.dumps(said), {"Authorization": f"Bearer {secret}"})
                return connection.getresponse().status

        assert notify(s3("b", "films/a.mp4", "films/.hidden", "films/a.mp4.part", "photos/b.jpg")) == 204
        assert list(watched.burst._pending) == ["a.mp4"]
        assert notify(s3("elsewhere", "a.mp4")) == 204
        assert "elsewhere" in capfd.readouterr().err
        toml.write_text(toml.read_text().replace(endpoint, ""))
        watched.read()
        until(lambda: not _takes(host, int(port)), 20)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    assert (tmp_path / "home/receiver").stat().st_mode & 0o777 == 0o600


def _takes(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0

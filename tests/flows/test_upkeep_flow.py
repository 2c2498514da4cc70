"""The flows that look after an archive, on a real server."""

import json

import pytest

from flows.names import slug
from index.forget import hide
from tests.flows.nights import Night
from tests.flows.serving import rushes
from tests.media import film, picture

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
CANARY, SPARE = "canary-4711", "canary-4712"


@pytest.fixture
def kept(night: Night) -> str:
    """Ingest an archive, once, with questions whose answers are known; return its name."""
    archive = night.archives["kept"]
    if not (archive.root / "index").exists():
        film(night.source("kept") / "show.mp4", ["red", "blue"])
        picture(night.source("kept") / f"{CANARY}.png", "green")
        (night.source("kept") / f"{CANARY}.mp4").write_bytes(b"")
        truths = [
            {"file": "show.mp4", "query": "blue", "kind": "text-to-moment", "start": 2, "stop": 4},
            {"file": f"{CANARY}.png", "query": "green", "kind": "text-to-picture"},
        ]
        (archive.root / "truths.json").write_text(json.dumps(truths), "utf8")
        settings = archive.root / "rushes.toml"
        settings.write_text(f'truths = "truths.json"\n{settings.read_text("utf8")}', "utf8")
        assert night.ended(night.begin("kept")).state.is_completed()
    return slug(archive.root)


def test_evaluations_are_a_row_a_night_and_drawn(night: Night, kept: str) -> None:
    first = night.begin("kept", "evaluate")
    assert night.ended(first).name == f"evaluate {kept} · gen-000001"
    second = night.begin("kept", "evaluate")
    assert night.ended(second).state.is_completed()
    artifacts = night.artifacts(second)
    rows = json.loads(artifacts[f"evaluation-{kept}"].data)
    assert [row["questions"] for row in rows] == [2, 2]
    assert rows[0]["evaluated"] >= rows[1]["evaluated"]
    assert rows[0]["recall@10"] == 1.0
    assert "![figures over time](data:image/svg+xml;base64," in str(artifacts[f"evaluated-{kept}"].data)


def test_reindex_publishes_and_maintain_says_what_it_would_remove(night: Night, kept: str) -> None:
    ended = night.ended(night.begin("kept", "reindex"))
    assert ended.name == f"reindex {kept} · gen-000002"
    assert [step.name for step in night.steps(ended.id)][1:4] == ["index", "verify gen-000002", "publish gen-000002"]
    ended = night.ended(night.begin("kept", "maintain", dry_run=True))
    assert ended.state.is_completed()
    told = night.artifacts(ended.id)[f"maintenance-{kept}"]
    assert "would be removed" in told.description
    assert {row["removed"] for row in json.loads(told.data)} >= {"table files", "generations", "pictures"}


def test_what_an_archive_forgets_prefect_forgets_as_well(night: Night, kept: str) -> None:
    with night.served.client() as client:
        named = [run.id for run in client.read_flow_runs() if any(CANARY in line for line in night.logs(run.id))]
    assert named
    refused = night.ended(night.begin("kept", "forget", what=[f"no-{CANARY}.png"]))
    assert CANARY in refused.state.message
    hide(night.archives["kept"], [f"{CANARY}.png"])  # as a run does that is killed then
    ended = night.ended(night.begin("kept", "forget", what=[f"{CANARY}.png", f"{CANARY}.mp4"]))
    assert ended.state.is_completed(), ended.state
    assert CANARY not in str(ended.parameters)
    with night.served.client() as client:
        assert not {*named, refused.id} & {run.id for run in client.read_flow_runs()}
        assert not [artifact for artifact in client.read_artifacts() if CANARY in f"{artifact.data}"]
        assert not [run for run in client.read_flow_runs() if any(CANARY in line for line in night.logs(run.id))]
    assert "Forgotten: " in str(night.artifacts(ended.id)[f"receipt-{kept}"].data)


def test_the_command_removes_from_prefect_what_names_a_file(night: Night, kept: str) -> None:
    (night.source("kept") / f"{SPARE}.mp4").write_bytes(b"\0\0\0\x18ftypisom" + SPARE.encode())
    assert night.ended(night.begin("kept")).state.is_completed()
    with night.served.client() as client:
        assert any(SPARE in line for run in client.read_flow_runs() for line in night.logs(run.id))
        done = rushes(night.served.environment, "forget", str(night.archives["kept"].root), f"{SPARE}.mp4")
        assert "Removed from Prefect" in done.stderr
        assert not [run for run in client.read_flow_runs() if any(SPARE in line for line in night.logs(run.id))]
        assert not [artifact for artifact in client.read_artifacts() if SPARE in f"{artifact.data}"]


def test_damage_is_the_message_of_a_failed_run(night: Night, kept: str) -> None:
    """Comes last: the archive is damaged from here on."""
    sound = night.ended(night.begin("kept", "verify"))
    assert sound.state.is_completed()
    index = night.archives["kept"].root / "index"
    vectors = next((index / json.loads((index / "current.json").read_text())["generation"]).glob("*.npy"))
    vectors.chmod(0o644)
    vectors.write_bytes(vectors.read_bytes()[:-1])
    ended = night.ended(night.begin("kept", "verify"))
    assert ended.state.is_failed()
    assert ended.state.message.startswith(f"{vectors} is not what was written")
    assert vectors.name in str(night.artifacts(ended.id)[f"damage-{kept}"].data)

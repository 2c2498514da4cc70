"""What is deployed, as far as that can be seen without a container engine or a cluster."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from flows.cli import _parser

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = "1.34"
SECRETS = {"POSTGRES_PASSWORD": "secret-of-postgres", "PREFECT_AUTH": "rushes:secret", "RAY_TOKEN": "secret-of-ray"}
RAY_CLUSTER = {
    "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "authOptions", "headGroupSpec", "workerGroupSpecs",
}  # fmt: skip
RAY_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "serviceType", "rayStartParams", "template"}
OWN = {"server", "worker", "ray"}


def documents(pattern: str) -> list[dict]:
    return [each for path in sorted(DEPLOY.glob(pattern)) for each in yaml.safe_load_all(path.read_text("utf8"))]


def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf8"))


def ray_groups() -> list[dict]:
    spec = documents("kuberay/*.yaml")[0]["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pods() -> list[dict]:
    """Return every pod template that lies in deploy/."""
    deployments = [each["spec"]["template"] for each in documents("kubernetes/*.yaml") if each["kind"] == "Deployment"]
    return deployments + [group["template"] for group in ray_groups()]


@pytest.mark.parametrize(
    "manifest", documents("kubernetes/*.yaml"), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_manifests_are_what_kubernetes_takes(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_validator_sees_a_wrong_field():
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_ray_cluster_has_known_fields_and_pods_that_kubernetes_takes():
    (cluster,) = documents("kuberay/*.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(cluster["spec"]) <= RAY_CLUSTER
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    for group in ray_groups():
        assert set(group) <= RAY_GROUP
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    gpus = [g["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for g in ray_groups()]
    assert gpus == [None, None, "1"]


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["spec"]["containers"][0]["name"])
def test_pods_run_as_nobody_on_a_read_only_root(pod):
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in spec["volumes"]}
        assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] == "media")


def test_ray_nodes_and_worker_see_the_archive_at_the_same_place():
    places = {
        (mount["name"], mount["mountPath"])
        for pod in pods()
        for container in pod["spec"]["containers"]
        for mount in container["volumeMounts"]
        if mount["name"] in ("archive", "media")
    }
    assert places == {("archive", "/archive"), ("media", "/media")}


@pytest.mark.parametrize("name", sorted(OWN))
def test_compose_services_run_as_nobody_on_a_read_only_root(name):
    service = compose()["services"][name]
    assert service["user"] == "10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_no_secret_is_written_down():
    text = "\n".join(path.read_text("utf8") for path in DEPLOY.rglob("*") if path.is_file())
    examples = dict(
        line.split("=", 1)
        for line in (DEPLOY / ".env.example").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    assert {name: examples[name].partition(":")[2] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    for name in SECRETS:
        assert re.search(rf"\$\{{{name}:\?", text), f"{name} may be left out"


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="Debian's docker-compose, the validator, is not here")
@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_compose_takes_the_file(files, tmp_path):
    chosen = [part for name in files for part in ("-f", str(DEPLOY / name))]
    done = subprocess.run(
        ["docker-compose", *chosen, "config", "-q"],
        env={**os.environ, **SECRETS},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", sorted(SECRETS))
@pytest.mark.skipif(not shutil.which("docker-compose"), reason="Debian's docker-compose, the validator, is not here")
def test_compose_asks_for_a_secret_that_is_missing(missing, tmp_path):
    env = {k: v for k, v in {**os.environ, **SECRETS}.items() if k != missing}
    done = subprocess.run(
        ["docker-compose", "-f", str(DEPLOY / "compose.yaml"), "config", "-q"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert missing in done.stderr


def rushes_commands() -> list[list[str]]:
    """Return every `rushes` command that deploy/ runs or tells people to run, as arguments."""
    worker = compose()["services"]["worker"]["command"]
    found = [worker, *(c["args"] for pod in pods() for c in pod["spec"]["containers"] if "args" in c)]
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text("utf8").replace(r"\n#", " ")
            told = re.findall(r"(?:/bin/rushes|-- rushes|\brun --rm worker) ([a-z][^\n#`&]*)", text)
            found += [shlex.split(re.sub(r" {3,}.*", "", line).replace("$MAINPID", "1")) for line in told]
    return found


@pytest.mark.parametrize("arguments", rushes_commands(), ids=" ".join)
def test_every_command_that_deploy_names_is_one(arguments):
    assert _parser().parse_args(arguments).run


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["server", "ray"])
def test_what_the_image_starts_has_the_options_that_it_is_started_with(name):
    _, _, program, *arguments = compose()["services"][name]["entrypoint"]
    module = {"prefect": "prefect", "ray": "ray.scripts.scripts"}[program]
    arguments = [a for a in arguments if a != "--block"]
    shown = subprocess.run([sys.executable, "-m", module, *arguments, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(a.partition("=")[0] in shown.stdout for a in arguments if a.startswith("--"))


def test_the_image_is_built_from_what_the_package_is_made_of():
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf8")
    copied = set(re.findall(r"^COPY (\w[\w. ]*) ", dockerfile, re.MULTILINE))
    names = {name for line in copied for name in line.split()} - {"./"}
    assert names == {"pyproject.toml", "README.md", "LICENSE", "encoders", "pipeline", "index", "flows"}
    allowed = {line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == names
    assert dockerfile.count("FROM base AS") == 2
    assert dockerfile.strip().splitlines()[-1] == "USER 10001"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze, the validator, is not here")
@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("systemd/*")), ids=lambda path: path.name)
def test_systemd_takes_the_units(unit, tmp_path):
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf8"), flags=re.MULTILINE)
    name = unit.name.replace("@.", "@x.")
    (tmp_path / name).write_text(re.sub(r"^User=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True)
    assert not [line for line in done.stderr.splitlines() if name in line], done.stderr

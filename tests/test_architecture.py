"""Imports point one way, each heavy library has one home, and importing a room costs milliseconds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["encoders", "pipeline", "index", "flows"]  # low to high
HOMES = {
    "prefect": "flows/",
    "ray": "pipeline/executors/",
    "faiss": "index/vector_index.py",
    "deltalake": "pipeline/store/",
    "av": "pipeline/decode/",
    "faster_whisper": "encoders/",
    "onnxruntime": "encoders/",
    "sentence_transformers": "encoders/",
    "transformers": "encoders/",
    "huggingface_hub": "encoders/hub.py",
    "rapidocr_onnxruntime": "encoders/ocr.py",
    "torch": ("encoders/", "pipeline/decode/nvdec.py"),
    "torchcodec": "pipeline/decode/nvdec.py",
}
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down_and_stay_at_home(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    above = set(LAYERS[LAYERS.index(where.split("/")[0]) + 1 :])
    strays = {library for library, home in HOMES.items() if not where.startswith(home)}
    assert not imported(path.read_text("utf8")) & (above | strays)


def test_the_rule_sees_a_breach() -> None:
    assert imported("def f():\n    import faiss\n    from index.plan import choose") == {"faiss", "index"}


HEAVY = [
    "torch",
    "torchcodec",
    "ray",
    "prefect",
    "faiss",
    "transformers",
    "sentence_transformers",
    "av",
    "faster_whisper",
    "huggingface_hub",
    "deltalake",
    "pandas",
    "pyarrow.fs",
    "onnxruntime",
    "ctranslate2",
    "rapidocr_onnxruntime",
]


@pytest.mark.parametrize("room", [*LAYERS, "flows.cli", "pipeline.media", "index.hits"])
def test_importing_a_room_loads_nothing_heavy(room: str) -> None:
    code = f"import sys, {room}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_modules_stay_short() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf8").splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > 350} == {}


def test_the_top_level_holds_what_it_should() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    top = {line.split("/")[0] for line in tracked.splitlines() if not line.startswith(".")}
    allowed = {"pyproject.toml", "README.md", "LICENSE", "pipeline", "flows", "encoders", "index", "tests", "deploy"}
    assert top <= allowed

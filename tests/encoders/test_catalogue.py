"""What the profiles name is known: whose it is, under which licence, at which commit."""

import re
from pathlib import Path

from encoders.catalogue import CATALOGUE, published
from encoders.models import FORMATS, parse
from encoders.profiles import PROFILES
from encoders.registry import FACTORIES


def sources() -> set[str]:
    names = {name for profile in PROFILES.values() for name in profile.encoders().values()}
    return {name.partition(":")[2] for name in names if ":" in name}


def test_all_that_the_profiles_name_is_in_the_catalogue_and_nothing_else() -> None:
    assert {parse(source).repository for source in sources()} == set(CATALOGUE)


def test_every_model_is_licensed_and_what_is_pinned_is_a_whole_commit() -> None:
    for repository, model in CATALOGUE.items():
        assert re.fullmatch(r"[\w-]+/[\w.-]+", repository)
        assert model.licence in ("Apache-2.0", "MIT")
        assert model.weights in FORMATS
        assert re.fullmatch(r"[0-9a-f]{40}|", model.revision)
        assert model.source == f"https://huggingface.co/{repository}"
    assert len({model.revision for model in CATALOGUE.values() if model.revision}) == 8


def test_whisper_is_the_only_family_that_reads_ctranslate2() -> None:
    names = {name for profile in PROFILES.values() for name in profile.encoders().values() if ":" in name}
    read = {name for name in names if (known := published(name.partition(":")[2])) and known.weights == "ctranslate2"}
    assert read == {name for name in names if name.startswith("whisper:")}


def test_every_encoder_of_every_profile_has_a_family() -> None:
    for profile in PROFILES.values():
        for name in profile.encoders().values():
            assert name.partition(":")[0] in FACTORIES


def test_a_model_that_nobody_knows() -> None:
    assert published("org/none") is None


def test_the_readme_has_every_model_with_its_licence_and_commit(root: Path) -> None:
    said = (root / "README.md").read_text("utf8")
    for repository, model in CATALOGUE.items():
        (row,) = re.findall(rf"^\| `{re.escape(repository)}` \|.*$", said, re.MULTILINE)
        assert f"| {model.licence} |" in row
        assert model.revision[:12] in row

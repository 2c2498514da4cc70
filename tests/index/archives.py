"""Archives whose tables are filled by hand, for tests of the index alone."""

from collections.abc import Sequence

import numpy as np

from pipeline.archive import Archive
from pipeline.media import Facts, Media, Modality, Moment, Outcome
from pipeline.recipe import Models, fingerprints
from pipeline.store.schemas import AssetRow, Location, moment_table
from pipeline.store.tables import Batch, Tables
from pipeline.store.thumbs import write_pack


def seen(models: Models, asset_id: str, start: float, stop: float, colour: tuple[int, int, int]) -> Moment:
    encoded = models.visual.encode_frames(np.full((1, 8, 8, 3), colour, np.uint8))
    return Moment(
        asset_id, Modality.VISUAL, "v:0", start, stop, models.visual.spec.space, encoded.vectors[0],
        labels=encoded.labels[0], thumb=b"webp-" + bytes(colour),
    )  # fmt: skip


def said(models: Models, asset_id: str, start: float, stop: float, text: str, modality=Modality.SPEECH) -> Moment:
    vector = models.text.encode_texts([text])[0]
    return Moment(asset_id, modality, "speech", start, stop, models.text.spec.space, vector, text=text, language="en")


def fill(archive: Archive, assets: dict[str, tuple[str, Media, Sequence[Moment]]], replaces=None) -> None:
    """Commit assets: asset_id → (uri, media, moments)."""
    models = Models.of(archive.settings.profile)
    recipe = {str(m): f for m, f in fingerprints(archive.settings, models).items()}
    tables = Tables(archive.tables)
    tables.create()
    rows = [
        AssetRow(
            asset_id, Outcome.INDEXED, "", (Location(uri, f"file:///media/{uri}", 1, 1),),
            Facts(media, "test", max([0.0, *(m.stop_seconds for m in moments)])), "", recipe,
        )
        for asset_id, (uri, media, moments) in assets.items()
    ]  # fmt: skip
    moments = [m for _, _, moments in assets.values() for m in moments]
    thumbs = write_pack(archive.thumbs, [m.thumb for m in moments])
    recipes = dict.fromkeys(assets, recipe)
    tables.commit(Batch(rows, moment_table(moments, recipes, thumbs), replaces or {}))

"""The model bundle: one immutable folder with everything that makes a list, named by its digest.

``catalogue.arrow``, ``item_state.arrow`` (the items' state at as_of), ``items.safetensors`` (standardised document
vectors; how many events of each item the generators learned from), ``generators/<name>/``, ``rankers/<lists>/`` (the
ranker and its calibration, by the lists that it orders), ``together.safetensors`` (which items share baskets, for
reasons), ``recipe.json`` and ``manifest.json``. No pickle, no wall clock: the same inputs give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from safetensors.numpy import load_file

from zhiyin.recommender.calibration import Calibration
from zhiyin.recommender.candidates import KINDS, CandidateGenerator, Context
from zhiyin.recommender.explanation.together import Together
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers
from zhiyin.store import MANIFEST, read_json, verify_manifest, write_arrays, write_json, write_manifest

# What a ranker orders: whatever the user may take, what the user never had, or the rest of a session.
Lists = Literal["all", "new", "session"]
ORDERED: tuple[Lists, ...] = ("all", "new", "session")


@dataclass(frozen=True)
class CalibratedRanker:
    """A ranker, and what makes probabilities of its scores; None where no user was held out for it."""

    ranker: Ranker
    calibration: Calibration | None

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.ranker.save(folder / "ranker.txt")
        if self.calibration:
            self.calibration.save(folder / "calibration.json")

    @classmethod
    def load(cls, folder: Path) -> "CalibratedRanker | None":
        """None where the bundle has no such ranker."""
        if not folder.is_dir():
            return None
        calibrated = (folder / "calibration.json").is_file()
        calibration = Calibration.load(folder / "calibration.json") if calibrated else None
        return cls(Ranker.load(folder / "ranker.txt"), calibration)


@dataclass(frozen=True)
class Bundle:
    """The parts, in memory."""

    recipe: Recipe
    catalogue: Catalogue
    item_state: pa.Table
    text: Floats
    events: Integers  # [items] that the generators learned from
    generators: dict[str, CandidateGenerator]
    rankers: dict[Lists, CalibratedRanker]
    together: Together | None = None  # None: of a bundle from before reasons counted baskets

    def write(self, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Write into an existing empty folder; returns the manifest, whose ``digest`` names the bundle."""
        write_table(folder / "catalogue.arrow", self.catalogue.table)
        write_table(folder / "item_state.arrow", self.item_state)
        text, events = self.text.astype(np.float16), self.events.astype(np.int32)
        write_arrays(folder / "items.safetensors", {"text": text, "events": events})
        write_json(folder / "recipe.json", self.recipe.model_dump(mode="json"))
        save_generators(folder / "generators", self.generators)
        for lists, ranker in self.rankers.items():
            ranker.save(folder / "rankers" / lists)
        if self.together:
            self.together.save(folder)
        return write_manifest(folder, **facts)


def load_bundle(folder: Path) -> tuple[Bundle, dict[str, Any]]:
    """Verify a bundle against its manifest and load it.

    Raises:
        FileNotFoundError: no bundle there.
        ValueError: a file is missing or was changed.
    """
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} holds no {MANIFEST}: not a finished bundle; train one")
    manifest = verify_manifest(folder)
    catalogue = Catalogue(read_table(folder / "catalogue.arrow"))
    if not (folder / "recipe.json").is_file():
        raise ValueError(f"{folder} was made by an earlier version, which kept no recipe; train again")
    recipe = Recipe.model_validate(read_json(folder / "recipe.json"))
    arrays = load_file(folder / "items.safetensors")
    text, events = arrays["text"].astype(np.float32), arrays["events"].astype(np.int64)
    context = Context(catalogue, text)
    generators = load_generators(folder / "generators", recipe, context)
    rankers = {lists: CalibratedRanker.load(folder / "rankers" / lists) for lists in ORDERED}
    state = read_table(folder / "item_state.arrow")
    kept = {lists: ranker for lists, ranker in rankers.items() if ranker is not None}
    parts = Bundle(recipe, catalogue, state, text, events, generators, kept, Together.load(folder))
    return parts, manifest


def save_generators(folder: Path, generators: Mapping[str, CandidateGenerator]) -> None:
    """Write each generator into a folder of its name."""
    for name, generator in generators.items():
        (folder / name).mkdir(parents=True)
        generator.save(folder / name)


def load_generators(folder: Path, recipe: Recipe, context: Context) -> dict[str, CandidateGenerator]:
    """The recipe's generators, read from where ``save_generators`` wrote them."""
    generators: dict[str, CandidateGenerator] = {}
    for name, chosen in recipe.generators.items():
        model = KINDS[chosen.kind].load(folder / name, context)
        model.name, model.quota, model.new_quota, model.graded = name, chosen.quota, chosen.new_quota, chosen.graded
        generators[name] = model
    return generators


def write_table(path: Path, table: pa.Table) -> None:
    """An Arrow file, without the metadata that pandas or Parquet may have left."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))


def read_table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()

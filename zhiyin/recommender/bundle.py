"""The model bundle: one immutable folder with everything that makes a list, named by its digest.

``catalogue.arrow``, ``item_state.arrow`` (the items' state at as_of), ``text.safetensors`` (standardised document
vectors), ``generators/<name>/``, ``ranker.txt``, ``calibration.json`` and ``manifest.json``. No pickle, no wall clock:
the same inputs give the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load_file

from zhiyin.recommender.calibration import Calibration
from zhiyin.recommender.candidates import GENERATORS, CandidateGenerator, Context
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.state.catalogue import Catalogue, Floats
from zhiyin.store import MANIFEST, verify_manifest, write_arrays, write_manifest


@dataclass(frozen=True)
class Bundle:
    """The parts, in memory."""

    catalogue: Catalogue
    item_state: pa.Table
    text: Floats
    generators: dict[str, CandidateGenerator]
    ranker: Ranker
    calibration: Calibration | None  # None: no user was held out for it

    def write(self, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Write into an existing empty folder; returns the manifest, whose ``digest`` names the bundle."""
        write_table(folder / "catalogue.arrow", self.catalogue.table)
        write_table(folder / "item_state.arrow", self.item_state)
        write_arrays(folder / "text.safetensors", {"text": self.text.astype(np.float16)})
        for name, generator in self.generators.items():
            place = folder / "generators" / name
            place.mkdir(parents=True)
            generator.save(place)
        self.ranker.save(folder / "ranker.txt")
        if self.calibration:
            self.calibration.save(folder / "calibration.json")
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
    text = load_file(folder / "text.safetensors")["text"].astype(np.float32)
    context = Context(catalogue, text)
    places = {kind: folder / "generators" / kind.name for kind in GENERATORS}
    # An earlier version's bundle lacks those that came later: its ranker knows nothing of them.
    generators = {kind.name: kind.load(place, context) for kind, place in places.items() if place.is_dir()}
    ranker = Ranker.load(folder / "ranker.txt")
    calibration = Calibration.load(folder / "calibration.json") if "calibration.json" in manifest["files"] else None
    state = read_table(folder / "item_state.arrow")
    return Bundle(catalogue, state, text, generators, ranker, calibration), manifest


def write_table(path: Path, table: pa.Table) -> None:
    """An Arrow file, without the metadata that pandas or Parquet may have left."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))


def read_table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()

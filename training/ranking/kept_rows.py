"""Rows of label windows that the two fits of a run share: `train` makes them, `refit` reads those of the same windows.

They are found by a digest of all that they follow from, and kept until the next run trains.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors.numpy import load_file

from training.ranking.ranking_set import RankingSet, SplitRows
from zhiyin.recommender.bundle import Lists
from zhiyin.store import atomic_folder, json_digest, read_json, write_arrays, write_json

Arrays = dict[str, npt.NDArray[Any]]
Rows = dict[Lists, SplitRows]

NAMES = "features.json"
PARTS = ("training", "holdout")


@dataclass(frozen=True)
class KeptRows:
    """``folder`` of what is kept; ``basis``: what all follow from besides the generators."""

    folder: Path
    basis: dict[str, Any]

    def of_window(self, window: str, generators: str, make: Callable[[], Rows]) -> Rows:
        """The rows of a label window (its first day), for which the generators of this name propose."""
        place = self.folder / json_digest({**self.basis, "window": window, "generators": generators})
        if place.is_dir():
            return _read(place)
        rows = make()
        with atomic_folder(place) as folder:
            for kind, split in rows.items():
                for part in PARTS:
                    each: RankingSet = getattr(split, part)
                    arrays: Arrays = {"features": each.features, "label": each.label, "group": each.group}
                    write_arrays(folder / f"{kind}-{part}.safetensors", arrays)
            write_json(folder / NAMES, {kind: split.training.names for kind, split in rows.items()})
        return rows

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(place: Path) -> Rows:
    names: dict[Lists, list[str]] = read_json(place / NAMES)
    return {
        kind: SplitRows(*(RankingSet(columns, **load_file(place / f"{kind}-{part}.safetensors")) for part in PARTS))
        for kind, columns in names.items()
    }

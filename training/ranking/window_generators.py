"""Generators that propose for label windows: fitted on the log before every fourth Monday, and kept.

A label window starts on another day in every run; the generators of the latest fourth Monday before it propose. Weeks
older than the window they teach the ranker as well as fresh ones (docs/lab/ranker.md), and most days' runs share them.
What is kept is found by a digest of all that it follows from: the recipe, the code, the log before the Monday, the text
vectors and the seed. What is not there is fitted anew; what was not used for the longest time is removed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.interest.encoders import Encoders
from zhiyin.recommender.bundle import load_generators, save_generators
from zhiyin.recommender.candidates import CandidateGenerator, Context
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, Floats
from zhiyin.recommender.state.history import History
from zhiyin.store import atomic_folder, json_digest

KEPT = 8  # of four weeks each; a recipe has at most twelve windows
ENCODER, GENERATORS = "encoder", "generators"

Generators = dict[str, CandidateGenerator]


@dataclass(frozen=True)
class WindowGenerators:
    """The folder of what is kept, what all of it follows from besides the log, and the encoders of this run."""

    folder: Path
    basis: dict[str, Any]
    encoders: Encoders

    @classmethod
    def of(
        cls, folder: Path, recipe: Recipe, text: Floats, code: str, seed: int, threads: int, encoders: Encoders
    ) -> "WindowGenerators":
        """``text``: float32 [items, d], the standardised vectors of the documents."""
        generators = recipe.model_dump(mode="json", include={"generators", "protocol", "repeats"})
        text_digest = hashlib.sha256(np.ascontiguousarray(text).data).hexdigest()
        facts = {"recipe": generators, "text": text_digest, "code": code, "seed": seed, "threads": threads}
        return cls(folder, facts, encoders)

    def name(self, log: History, catalogue: Catalogue) -> str:
        """The name of the folder of what is fitted on this log."""
        return json_digest({**self.basis, "until": log.cut, "log": log_digest(log, catalogue)})

    def fitted_on(self, log: History, recipe: Recipe, context: Context, fit: Callable[[], Generators]) -> Generators:
        """The generators of a log: those that are kept, else those of ``fit``, then kept.

        The run's encoders go on from theirs either way.
        """
        place = self.folder / self.name(log, context.catalogue)
        if place.is_dir():
            place.touch()
            self.encoders.read(log.cut, place / ENCODER)
            return load_generators(place / GENERATORS, recipe, context)
        made = fit()
        with atomic_folder(place) as folder:
            self.encoders.write(log.cut, folder / ENCODER)
            save_generators(folder / GENERATORS, made)
        self._sweep()
        return made

    def _sweep(self) -> None:
        places = sorted(
            (path for path in self.folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
        )
        for place in places[:-KEPT]:
            shutil.rmtree(place, ignore_errors=True)


def log_digest(log: History, catalogue: Catalogue) -> str:
    """SHA-256 of the events, by the names of users and items, and of the items' kinds."""
    users, items = (
        np.array(
            [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") for name in names], np.uint64
        )
        for names in (log.user_ids, catalogue.item_ids)
    )
    digest = hashlib.sha256()
    for column in (users[log.user], items[log.item], log.at, log.type, log.value):
        digest.update(np.ascontiguousarray(column).data)
    kinds = pa.table(
        {name: catalogue.table[name] for name in ("item_id", "category", "category_path", "labels", "brand")}
    )
    for column in kinds.columns:
        digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest()

"""Rows of label windows and rankers grown on them, kept so that the next run need not make them again.

A label window of the weekly grid is the same in every run of its weeks. What is kept is found by a digest of all that
it follows from: the recipe, the code, the log up to the window's end, the text vectors and the seed. What is not there
is made anew; what was not used for the longest time is removed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.ranking.ranking_set import RankingSet, SplitRows
from zhiyin.recommender.bundle import CalibratedRanker, Lists, save_generators
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, Floats
from zhiyin.recommender.state.history import History
from zhiyin.store import atomic_folder, json_digest

KEPT = 24  # folders, the latest used


@dataclass(frozen=True)
class Kept:
    """The folder of what is kept, and what all of it follows from besides the log."""

    folder: Path
    basis: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, recipe: Recipe, text: Floats, code: str, seed: int, threads: int) -> "Kept":
        facts = recipe.model_dump(mode="json", exclude={"slate"})
        text_digest = hashlib.sha256(np.ascontiguousarray(text).data).hexdigest()
        return cls(folder, {"recipe": facts, "text": text_digest, "code": code, "seed": seed, "threads": threads})

    def window(self, name: str, log: History, catalogue: Catalogue, until: float) -> str:
        """What names the rows of a label window that ends at ``until`` (epoch seconds)."""
        return json_digest({**self.basis, "window": name, "log": log_digest(log, catalogue, until)})

    def rows(self, key: str) -> dict[Lists, SplitRows] | None:
        """The rows kept under a key; None where there are none."""
        place = self.folder / key
        if not place.is_dir():
            return None
        place.touch()
        kinds: tuple[Lists, ...] = ("all", "new")
        found: dict[Lists, SplitRows] = {}
        for kind in kinds:
            if (place / f"{kind}-training.parquet").is_file():
                parts = (_read(place / f"{kind}-{part}.parquet") for part in ("training", "holdout"))
                found[kind] = SplitRows(*parts)
        return found

    def encoder(self, key: str) -> Path:
        """Where the interest encoder of a label window lies, from which that of the next one goes on."""
        return self.folder / key / "encoder"

    def keep_rows(self, key: str, rows: dict[Lists, SplitRows], write_encoder: Callable[[Path], None]) -> None:
        with atomic_folder(self.folder / key) as place:
            write_encoder(place / "encoder")
            for kind, made in rows.items():
                _write(place / f"{kind}-training.parquet", made.training)
                _write(place / f"{kind}-holdout.parquet", made.holdout)
        self._sweep()

    def keep_generators(self, key: str, generators: Mapping[str, CandidateGenerator]) -> str:
        """Keep the generators of a label window: what a served bundle would be if it were not refitted."""
        name = f"{key}-generators"
        with atomic_folder(self.folder / name) as place:
            save_generators(place, generators)
        return name

    def ranker_key(self, kind: Lists, windows: list[str]) -> str:
        """What names the ranker that was grown on the rows of some windows."""
        return json_digest({**self.basis, "lists": kind, "windows": windows})

    def ranker(self, key: str) -> CalibratedRanker | None:
        place = self.folder / key
        if place.is_dir():
            place.touch()
        return CalibratedRanker.load(place)

    def keep_ranker(self, key: str, ranker: CalibratedRanker) -> None:
        with atomic_folder(self.folder / key) as place:
            ranker.save(place / "ranker")
            for part in (place / "ranker").iterdir():
                part.rename(place / part.name)
            (place / "ranker").rmdir()
        self._sweep()

    def _sweep(self) -> None:
        places = sorted(
            (path for path in self.folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
        )
        for place in places[:-KEPT]:
            shutil.rmtree(place, ignore_errors=True)


def log_digest(log: History, catalogue: Catalogue, until: float) -> str:
    """SHA-256 of the events before a moment, by the names of users and items, and of the items' kinds."""
    before = log.at < until
    users, items = (
        np.array(
            [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") for name in names], np.uint64
        )
        for names in (log.user_ids, catalogue.item_ids)
    )
    digest = hashlib.sha256()
    for column in (
        users[log.user[before]],
        items[log.item[before]],
        log.at[before],
        log.type[before],
        log.value[before],
    ):
        digest.update(np.ascontiguousarray(column).data)
    kinds = pa.table({name: catalogue.table[name] for name in ("item_id", "category", "category_path", "brand")})
    for column in kinds.columns:
        digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest()


def _write(path: Path, rows: RankingSet) -> None:
    columns = {name: rows.features[:, place] for place, name in enumerate(rows.names)}
    table = pa.table({**columns, "label": rows.label, "list": np.repeat(np.arange(len(rows.group)), rows.group)})
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=False)


def _read(path: Path) -> RankingSet:
    table = pq.read_table(path)
    names = [name for name in table.column_names if name not in ("label", "list")]
    features = np.column_stack([table[name].to_numpy() for name in names]) if len(table) else np.empty((0, len(names)))
    group = np.bincount(table["list"].to_numpy())
    return RankingSet(names, features.astype(np.float32), table["label"].to_numpy().astype(np.int8), group[group > 0])

"""The interest encoders of a run, each started from the latest one that was fitted strictly before it.

Kept by the bundle that they were trained for, so that a later run need not train again:
``<bundle>/basis.safetensors`` (of the text vectors), ``<bundle>/<cut>/`` (the encoder, and the items of its catalogue)
and ``<bundle>/manifest.json``. A run starts from what was promoted, never from what the gate refused or a rollback took
back.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from training.interest.train_encoder import LoopConfig, Start, train_encoder
from training.text.encode_items import TextBasis
from zhiyin.clock import Clock
from zhiyin.contract import ITEM_ID
from zhiyin.recommender.bundle import read_table, write_table
from zhiyin.recommender.candidates import Context
from zhiyin.recommender.encoder.interest_encoder import EncoderConfig, InterestEncoder
from zhiyin.recommender.state.catalogue import Floats
from zhiyin.recommender.state.history import History
from zhiyin.registry import start_of
from zhiyin.settings import Settings
from zhiyin.store import MANIFEST, atomic_folder, verify_manifest, write_manifest

log = logging.getLogger(__name__)

BASIS = "basis.safetensors"
ITEMS = "items.arrow"
FORMAT = 3  # of the network's parameters: encoders of another one are not gone on from


@dataclass(frozen=True)
class Kept:
    """A fitted encoder and the ids of its items [items]."""

    encoder: InterestEncoder
    item_ids: pa.Array


class Encoders:
    """Fits the encoders of one run.

    ``unfinished``: folder of the checkpoints, from which a run that was killed goes on; they leave with ``save``.
    ``basis``: of the text vectors that they read. ``origin``: the promoted bundle from whose encoders these go on, None
    where they start from nothing; with the data it decides what they learn.
    """

    def __init__(
        self,
        basis: TextBasis,
        loop: LoopConfig,
        origin: str | None = None,
        earlier: dict[str, Kept] | None = None,
        unfinished: Path | None = None,
    ) -> None:
        self.basis = basis
        self.loop = loop
        self._unfinished = unfinished
        self.origin = origin
        self._earlier = earlier or {}  # by the day of the cut
        self._fitted: dict[str, Kept] = {}

    @classmethod
    def after(
        cls, settings: Settings, clock: Clock, vectors: Floats, text_encoder: str, judged: str | None = None
    ) -> Self:
        """Those that go on from the champion's judged bundle; of a day before its own, from the promotion before that.

        From nothing where nothing was promoted before, with ``settings.warm_start`` off, or where that bundle's
        encoders are gone, or its documents went through another text encoder (digest ``text_encoder``). ``vectors``:
        float32 [items, d], the documents' vectors of now. ``judged``: go on from the encoders of this bundle instead.
        """
        unfinished = _unfinished(settings, clock)
        loop = LoopConfig(minutes=settings.encoder_minutes)
        start = judged or (start_of(settings, clock) if settings.warm_start else None)
        if start is None:
            return cls(TextBasis.of(vectors), loop, unfinished=unfinished)
        folder = settings.encoders / start
        if not (folder / MANIFEST).is_file():
            log.info("the encoders of %s, which was promoted, are gone: learning from nothing", start[:12])
            return cls(TextBasis.of(vectors), loop, unfinished=unfinished)
        manifest = verify_manifest(folder)
        if manifest.get("format") != FORMAT:
            return cls(TextBasis.of(vectors), loop, unfinished=unfinished)
        basis = TextBasis.load(folder / BASIS)
        if manifest["text_encoder"] != text_encoder:
            return cls(TextBasis.of(vectors), loop, unfinished=unfinished)
        earlier = {cut: _load(folder / cut, basis) for cut in manifest["cuts"]}
        return cls(basis, loop, start, earlier, unfinished)

    def fit(
        self, history: History, context: Context, config: EncoderConfig, learning: Mapping[str, Any]
    ) -> InterestEncoder:
        """An encoder of the log, started from the latest of its shape that saw nothing at or after its cut."""
        cut, known = _day(history.cut), self._earlier | self._fitted
        start = None
        if earlier := [day for day, kept in known.items() if day < cut and kept.encoder.config == config]:
            kept = known[max(earlier)]
            start = Start(kept.encoder, context.catalogue.index_of(kept.item_ids), _moment(max(earlier)))
        checkpoint = None if self._unfinished is None else self._unfinished / f"{cut}.safetensors"
        encoder = train_encoder(history, context, config, self.loop.under(learning), start, checkpoint)
        self._fitted[cut] = Kept(encoder, pa.array(context.catalogue.item_ids, pa.string()))
        return encoder

    def save(self, settings: Settings, clock: Clock, text_encoder: str, bundle: str) -> None:
        """Keep what this run fitted beside the bundle that it made: later runs go on from it once it is promoted."""
        with atomic_folder(settings.encoders / bundle, replace=True) as folder:
            self.basis.save(folder / BASIS)
            for cut, kept in self._fitted.items():
                _save(kept, folder / cut)
            facts = {"cuts": list(self._fitted), "text_encoder": text_encoder, "origin": self.origin}
            write_manifest(folder, format=FORMAT, **facts)
        shutil.rmtree(_unfinished(settings, clock), ignore_errors=True)

    def write(self, moment: float, folder: Path) -> None:
        """Keep the encoder of one cut (epoch seconds), where this run has fitted one."""
        if kept := self._fitted.get(_day(moment)):
            _save(kept, folder)

    def read(self, moment: float, folder: Path) -> None:
        """Take an encoder that an earlier run has fitted up to a cut for one of this run."""
        if folder.is_dir():
            self._fitted[_day(moment)] = _load(folder, self.basis)


def _save(kept: Kept, folder: Path) -> None:
    folder.mkdir()
    kept.encoder.save(folder)
    write_table(folder / ITEMS, pa.table({ITEM_ID: kept.item_ids}))


def _unfinished(settings: Settings, clock: Clock) -> Path:
    return settings.encoders / f".{clock.date}.unfinished"


def _load(folder: Path, basis: TextBasis) -> Kept:
    """An encoder to start from; its own text vectors are not kept, and not needed."""
    item_ids = read_table(folder / ITEMS)[ITEM_ID].combine_chunks()
    nothing = np.zeros((len(item_ids), basis.axes.shape[1]), np.float32)
    return Kept(InterestEncoder.load(folder, nothing), item_ids)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _moment(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()

"""What a run of training or evaluation reads: the published marts and the states, once, as arrays and tables."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zhiyin.contract import FEATURE_AT, INTERACTIONS, ITEM_ID, ITEMS, MIN_ITEM_INTERACTIONS, OCCURRED_AT, USER_ID
from zhiyin.recommender.state.catalogue import Catalogue, epoch_seconds, word_columns
from zhiyin.recommender.state.history import read_interactions
from zhiyin.warehouse import Marts


@dataclass(frozen=True)
class Data:
    """The log, the items that take part in the whole of it, and the users' and items' states at the snapshots."""

    interactions: pa.Table
    catalogue: Catalogue
    users: pa.Table
    items: pa.Table

    def users_at(self, moment: datetime) -> pa.Table:
        """Rows of users.parquet at a snapshot.

        Raises:
            ValueError: the states hold no user at that moment.
        """
        rows = self.users.filter(pa.array(epoch_seconds(self.users[FEATURE_AT]) == moment.timestamp()))
        if not rows.num_rows:
            raise ValueError(
                f"users.parquet has no row at {moment.isoformat()}; read the features for this clock first"
            )
        return rows

    def words_at(self, moment: float) -> pa.Table:
        """The users' ids and words at a snapshot (epoch seconds)."""
        rows = self.users_at(datetime.fromtimestamp(moment, UTC))
        return rows.select([USER_ID, *word_columns(rows)])


def read_data(marts: Marts, states: Path) -> Data:
    interactions = read_interactions(marts.path(INTERACTIONS))
    return Data(
        interactions,
        read_catalogue(marts),
        pq.read_table(states / "users.parquet"),
        pq.read_table(states / "items.parquet"),
    )


def read_catalogue(marts: Marts) -> Catalogue:
    """Items with enough interactions in the published log; one that had too few before a cut is cold for its models."""
    items = pq.read_table(marts.path(INTERACTIONS), columns=[ITEM_ID], read_dictionary=[ITEM_ID])[ITEM_ID]
    return Catalogue.of(pq.read_table(marts.path(ITEMS)), _frequent(items))


def eligible_at(interactions: pa.Table, cut: datetime, least: int = MIN_ITEM_INTERACTIONS) -> pa.Array:
    """Ids of the items with at least ``least`` interactions before ``cut``: the candidates of that moment."""
    before = pa.array(epoch_seconds(interactions[OCCURRED_AT]) < cut.timestamp())
    return pa.array(_frequent(interactions.filter(before)[ITEM_ID], least), pa.string())


def _frequent(items: pa.ChunkedArray, least: int = MIN_ITEM_INTERACTIONS) -> list[str]:
    counts = pc.value_counts(items.cast(pa.string()).combine_chunks())
    enough = pc.greater_equal(counts.field("counts"), least)
    return sorted(counts.field("values").filter(enough).to_pylist())


def eligibility(catalogue: Catalogue, item_ids: pa.Array) -> npt.NDArray[np.bool_]:
    """Bool [items of the catalogue]: which are among ``item_ids``."""
    index = catalogue.index_of(item_ids)
    mask = np.zeros(len(catalogue), bool)
    mask[index[index >= 0]] = True
    return mask

"""What a run of training or evaluation reads: the published marts and the states, once, as arrays and tables."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from training.log_states import LogStates
from training.protocols import Split
from zhiyin.contract import FEATURE_AT, INTERACTIONS, ITEMS, USER_HISTORY, USER_ID
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.state.catalogue import Catalogue, ItemState, epoch_seconds
from zhiyin.recommender.state.history import History, read_interactions, taken_codes
from zhiyin.recommender.state.users import Users
from zhiyin.store.sql import connect, read_table
from zhiyin.warehouse import Marts

Words = Callable[[float], pa.Table]  # what is known of users at a moment (epoch seconds)


@dataclass(frozen=True, eq=False)
class MartStates:
    """States as Feast read them from the marts, at the snapshots of a run: what serving reads, at earlier moments."""

    catalogue: Catalogue
    user_rows: pa.Table
    item_rows: pa.Table

    @lru_cache(maxsize=2)  # noqa: B019 - the states of a run live as long as the run
    def users_at(self, moment: float) -> pa.Table:
        """Rows of users.parquet at a snapshot (epoch seconds).

        Raises:
            ValueError: the states hold no user at that moment.
        """
        rows = self.user_rows.filter(pa.array(epoch_seconds(self.user_rows[FEATURE_AT]) == moment))
        if not rows.num_rows:
            at = datetime.fromtimestamp(moment, UTC).isoformat()
            raise ValueError(f"users.parquet has no row at {at}; read the features for this clock first")
        return rows

    def users(self, split: Split, start: int, stop: int) -> Users:
        moment = float(split.at[start])
        rows = self.users_at(moment)
        place = pc.index_in(
            pa.array(split.user_ids[start:stop], pa.string()),
            value_set=rows[USER_ID].combine_chunks().cast(pa.string()),
        )
        found = rows.take(place)  # of somebody without a row nothing is known but the id
        ids = pa.array(split.user_ids[start:stop], pa.string())
        found = found.set_column(found.column_names.index(USER_ID), USER_ID, ids)
        users = Users.of(found, self.catalogue, moment)
        return replace(users, scale=split.log.scale, taken_types=taken_codes(split.log.event_types))

    def items(self, log: History, moment: float, least: int) -> ItemState:
        return ItemState.of(self.item_rows, self.catalogue, datetime.fromtimestamp(moment, UTC), least)


@dataclass(frozen=True)
class Data:
    """The log, the catalogue, and the users' and items' states at the snapshots."""

    history: History
    event_types: list[str]
    catalogue: Catalogue
    states: MartStates
    words: Words

    def states_of(self, recipe: Recipe) -> "MartStates | LogStates":
        """Where a recipe's splits find their states: in the marts, whose snapshots are days, or in the log itself."""
        if recipe.protocol == "next_days":
            return self.states
        return LogStates(self.catalogue, lambda moment: self.words(self.history.cut))

    def over(self, catalogue: Catalogue) -> "Data":
        """The same with the items of another catalogue: that of a bundle, which may be an earlier one's."""
        if catalogue.table.equals(self.catalogue.table):
            return self
        index = catalogue.index_of(pa.array(self.catalogue.item_ids, pa.string()))
        item = index[self.history.item]
        history = replace(self.history.where(item >= 0), item=item[item >= 0], n_items=len(catalogue))
        return replace(self, history=history, catalogue=catalogue, states=replace(self.states, catalogue=catalogue))


def read_data(marts: Marts, states: Path) -> Data:
    """Everything before the marts' ``as_of``."""
    interactions = read_interactions(marts.path(INTERACTIONS))
    catalogue = read_catalogue(marts)
    return Data(
        History.of(interactions, catalogue, marts.as_of),
        sorted(pc.unique(interactions["event_type"]).cast("string").to_pylist()),
        catalogue,
        MartStates(catalogue, read_table(states / "users.parquet"), read_table(states / "items.parquet")),
        words_of_users(marts),
    )


def words_of_users(marts: Marts) -> Words:
    """What was known of the users at a moment: their ids and attributes, sorted by id."""

    @cache
    def at(moment: float) -> pa.Table:
        with connect() as connection:
            return connection.sql(
                "select * exclude (valid_from, valid_to, attributes) from read_parquet($1)"
                " where epoch(valid_from) <= $2"
                f" qualify row_number() over (partition by {USER_ID} order by valid_from desc) = 1 order by {USER_ID}",
                params=[str(marts.path(USER_HISTORY)), moment],
            ).to_arrow_table()

    return at


def read_catalogue(marts: Marts) -> Catalogue:
    """The items mart, whole: which of them may be listed at a moment is for the items' state to say."""
    items = read_table(marts.path(ITEMS))
    return Catalogue.of(items, items["item_id"].cast(pa.string()).to_pylist())

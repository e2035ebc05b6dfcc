"""The one object that makes lists: in evaluation, in batch and behind HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zhiyin.contract import USER_ID
from zhiyin.recommender.bundle import load_bundle
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.candidates.interest import Interest
from zhiyin.recommender.catalogue import Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.explanation import Deed, Evidence, gather_evidence, say
from zhiyin.recommender.features import Candidates, propose
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.slate import pick
from zhiyin.recommender.users import Users

USERS_AT_ONCE = 256  # dense scores of one generator for so many users and 20,000 items: 20 MB


@dataclass(frozen=True)
class Recommendation:
    """One place of a list. ``score`` compares within the list only; ``evidence`` is ready for JSON."""

    item_id: str
    title: str
    rank: int
    score: float
    reason: str | None
    evidence: list[Evidence]


@dataclass(frozen=True)
class Slate:
    """A user's list, and labels of what was missing when it was made."""

    user_id: str
    items: list[Recommendation]
    missing: list[str]


@dataclass(frozen=True)
class Ranked:
    """Lists of a batch as arrays: the candidates, the positions of the chosen ones, and their scores and ranks."""

    users: Users
    candidates: Candidates
    chosen: Integers
    rank: Integers
    score: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recommender:
    """Loaded from a bundle; safe to share between threads, since nothing in it changes."""

    version: str
    manifest: dict[str, Any]
    catalogue: Catalogue
    item_state: ItemState
    generators: dict[str, CandidateGenerator]
    ranker: Ranker
    text: Floats

    @classmethod
    def load(cls, bundle: Path) -> "Recommender":
        """Verify and load a bundle.

        Raises:
            FileNotFoundError, ValueError: no bundle there, or one that was changed.
        """
        parts, manifest = load_bundle(bundle)
        state = ItemState.of(parts.item_state, parts.catalogue, datetime.fromisoformat(manifest["as_of"]))
        return cls(manifest["digest"], manifest, parts.catalogue, state, parts.generators, parts.ranker, parts.text)

    @property
    def deed(self) -> Deed:
        """What users do with items in the log that this was trained on."""
        return Deed.of(self.manifest["event_types"])

    @property
    def as_of(self) -> datetime:
        """The moment of the items' state."""
        return self.item_state.moment

    def at(self, item_state: ItemState) -> "Recommender":
        """The same models with the items' state of another moment."""
        return replace(self, item_state=item_state)

    def users(self, rows: pa.Table | list[dict[str, Any]]) -> Users:
        """User states as this recommender reads them; a column that a row lacks is unknown."""
        users = Users.of(rows, self.catalogue, self.item_state.at)
        wanted = [name.removeprefix("user_") for name in self.ranker.features if name.startswith("user_")]
        unknown = np.full(len(users), np.nan, np.float32)
        return replace(users, columns=dict.fromkeys(wanted, unknown) | users.columns)

    def rank(self, rows: pa.Table | list[dict[str, Any]], k: int) -> Iterator[Ranked]:
        """Ranked lists in batches of users, in the order given."""
        for start in range(0, len(rows), USERS_AT_ONCE):
            users = self.users(rows[start : start + USERS_AT_ONCE])
            candidates = propose(list(self.generators.values()), users, self.catalogue, self.item_state)
            # Of someone without a history the ranker knows nothing: what is popular now, in that order.
            stranger = ~users.with_history[candidates.user]
            popular = candidates.columns["popularity_score"]
            scores = np.where(stranger, np.nan_to_num(popular, nan=-np.inf), self.ranker.score(candidates))
            chosen, rank = self.pick(candidates, scores, k)
            yield Ranked(users, candidates, chosen, rank, scores)

    def pick(self, candidates: Candidates, scores: npt.NDArray[np.float64], k: int) -> tuple[Integers, Integers]:
        """Positions of each user's best ``k`` candidates under the slate's guards, and their ranks from 1."""
        return pick(candidates.user, candidates.item, scores, self.catalogue.category[candidates.item], k)

    def recommend(
        self, users: pa.Table | list[dict[str, Any]], k: int = 10, explain: Literal["none", "text"] = "none"
    ) -> list[Slate]:
        """A list for each row of user state (columns of users.parquet; ``{"user_id": …}`` alone: popular now).

        Raises:
            ValueError: ``k`` is below 1, ``explain`` is unknown, or a row has no user_id.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if explain not in ("none", "text"):
            raise ValueError(f"explain must be none or text, got {explain!r}")
        slates: list[Slate] = []
        for ranked in self.rank(users, k):
            evidence = gather_evidence(
                ranked.users, ranked.candidates, ranked.chosen, self.catalogue, self.item_state, self.generators
            )
            lists: list[list[Recommendation]] = [[] for _ in ranked.users.ids]
            for place, position in enumerate(ranked.chosen):
                item, facts = int(ranked.candidates.item[position]), evidence[place]
                reason = say(facts, self.deed) if explain == "text" else None
                lists[ranked.candidates.user[position]].append(
                    self._recommendation(item, int(ranked.rank[place]), float(ranked.score[position]), reason, facts)
                )
            for row, user_id in enumerate(ranked.users.ids):
                slates.append(Slate(user_id, lists[row], self._missing(ranked.users, row)))
        return slates

    def interests(self, rows: pa.Table) -> pa.Table:
        """``user_id`` and ``user_interest`` (float32 vector) of every row of user state that has a sequence."""
        encoder = self.generators[Interest.name]
        assert isinstance(encoder, Interest)
        parts = []
        for start in range(0, len(rows), USERS_AT_ONCE):
            users = self.users(rows[start : start + USERS_AT_ONCE])
            vectors = encoder.interests(users)
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            part = pa.table({USER_ID: pa.array(users.ids, pa.string()), "user_interest": column})
            parts.append(part.filter(pa.array(np.bincount(users.sequence.user, minlength=len(users)) > 0)))
        return pa.concat_tables(parts)

    def _recommendation(
        self, item: int, rank: int, score: float, reason: str | None, evidence: list[Evidence]
    ) -> Recommendation:
        return Recommendation(self.catalogue.item_ids[item], self.catalogue.titles[item], rank, score, reason, evidence)

    def _missing(self, users: Users, row: int) -> list[str]:
        if not users.known[row]:
            return ["unknown_user"]
        return [] if users.with_history[row] else ["no_history"]

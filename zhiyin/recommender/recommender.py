"""The one object that makes lists: in evaluation, in batch and behind HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from zhiyin.contract import USER_ID
from zhiyin.language.words import Wording
from zhiyin.recommender.bundle import load_bundle
from zhiyin.recommender.calibration import ACTIVITY, Calibration
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.candidates.interest import Interest
from zhiyin.recommender.explanation import gather_evidence, say, weigh_evidence
from zhiyin.recommender.features import Candidates, propose, users_at_once
from zhiyin.recommender.lists import Ranked, Recommendation, Slate
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.slate.item_rules import ItemRules
from zhiyin.recommender.slate.pick import Picked, Scores, pick
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.recommender.state.catalogue import Catalogue, Floats, ItemState
from zhiyin.recommender.state.users import Users


@dataclass(frozen=True)
class Recommender:
    """Loaded from a bundle; safe to share between threads, since nothing in it changes."""

    version: str
    manifest: dict[str, Any]
    catalogue: Catalogue
    item_state: ItemState
    generators: dict[str, CandidateGenerator]
    ranker: Ranker
    calibration: Calibration | None
    text: Floats
    rules: ItemRules

    @classmethod
    def load(cls, bundle: Path, rules: SlateRules | None = None) -> "Recommender":
        """Verify and load a bundle; without ``rules`` the defaults hold.

        Raises:
            FileNotFoundError, ValueError: no bundle there, or one that was changed.
        """
        parts, manifest = load_bundle(bundle)
        state = ItemState.of(parts.item_state, parts.catalogue, datetime.fromisoformat(manifest["as_of"]))
        over = ItemRules.of(rules or SlateRules(), parts.catalogue)
        models = parts.generators, parts.ranker, parts.calibration
        return cls(manifest["digest"], manifest, parts.catalogue, state, *models, parts.text, over)

    @cached_property
    def wording(self) -> Wording:
        """The words for reasons: of the log's events, and of the dataset."""
        return Wording.of(self.manifest["event_types"], self.manifest.get("words"))

    @property
    def feature_names(self) -> list[str]:
        """The features that the ranker learned from."""
        return self.ranker.features

    @property
    def as_of(self) -> datetime:
        """The moment of the items' state."""
        return self.item_state.moment

    def at(self, item_state: ItemState) -> "Recommender":
        """The same models with the items' state of another moment."""
        return replace(self, item_state=item_state)

    def under(self, rules: SlateRules) -> "Recommender":
        """The same models under other rules."""
        return replace(self, rules=ItemRules.of(rules, self.catalogue))

    def users(self, rows: pa.Table | list[dict[str, Any]]) -> Users:
        """User states as this recommender reads them; a column that a row lacks is unknown."""
        users = Users.of(rows, self.catalogue, self.item_state.at)
        wanted = [name.removeprefix("user_") for name in self.ranker.features if name.startswith("user_")]
        unknown = np.full(len(users), np.nan, np.float32)
        return replace(users, columns=dict.fromkeys(wanted, unknown) | users.columns)

    def rank(self, rows: pa.Table | list[dict[str, Any]], k: int) -> Iterator[Ranked]:
        """Ranked lists in batches of users, in the order given."""
        size = users_at_once(len(self.catalogue))
        for start in range(0, len(rows), size):
            users = self.users(rows[start : start + size])
            models = list(self.generators.values())
            candidates = propose(models, users, self.catalogue, self.item_state, always=self.rules.always)
            cold = ~users.with_history[candidates.user]
            scores = np.where(cold, _cold_user_scores(candidates, len(users)), self.ranker.score(candidates))
            picked = self.pick(candidates, scores, k)
            chance = np.full(len(scores), np.nan)
            if self.calibration:
                activity = candidates.columns.get(ACTIVITY, np.zeros(len(scores), np.float32))
                chance[~cold] = self.calibration(scores[~cold], activity[~cold])
            yield Ranked(users, candidates, scores, chance, picked)

    def pick(self, candidates: Candidates, scores: Scores, k: int) -> Picked:
        """Each user's best ``k`` candidates under the slate's rules."""
        return pick(candidates, scores, self.catalogue, self.text, self.rules, k)

    def recommend(
        self,
        users: pa.Table | list[dict[str, Any]],
        k: int = 10,
        explain: Literal["none", "text"] = "none",
        contributions: bool = False,
    ) -> list[Slate]:
        """A list for each row of user state (columns of users.parquet; ``{"user_id": …}`` alone: popular now).

        ``contributions``: with what each feature added to the score.

        Raises:
            ValueError: ``k`` is below 1, ``explain`` is unknown, or a row has no user_id.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if explain not in ("none", "text"):
            raise ValueError(f"explain must be none or text, got {explain!r}")
        slates: list[Slate] = []
        for ranked in self.rank(users, k):
            lists: list[list[Recommendation]] = [[] for _ in ranked.users.ids]
            for row, recommendation in self._explained(ranked, explain, contributions):
                lists[row].append(recommendation)
            for row, user_id in enumerate(ranked.users.ids):
                slates.append(Slate(user_id, lists[row], self._missing(ranked.users, row)))
        return slates

    def _explained(self, ranked: Ranked, explain: str, contributions: bool) -> Iterator[tuple[int, Recommendation]]:
        """Every place of a batch's lists, with the row of its user."""
        weights = weigh_evidence(self.ranker, ranked.candidates, ranked.chosen)
        evidence = gather_evidence(
            ranked.users, ranked.candidates, ranked.chosen, self.catalogue, self.item_state, self.generators, weights
        )
        shares = self.ranker.contributions(ranked.candidates, ranked.chosen) if contributions else None
        for place, position in enumerate(ranked.chosen):
            row, item = int(ranked.candidates.user[position]), int(ranked.candidates.item[position])
            moved = self.rules.facts(item, int(ranked.picked.pin[place]), int(ranked.picked.by_score[place]))
            facts = sorted([*evidence[place], *moved], key=lambda fact: fact.get("action") != "pin")
            chance = float(ranked.probability[position])
            yield (
                row,
                Recommendation(
                    self.catalogue.item_ids[item],
                    self.catalogue.titles[item],
                    int(ranked.rank[place]),
                    float(ranked.score[position]),
                    None if np.isnan(chance) else chance,
                    say(facts, self.wording) if explain == "text" else None,
                    facts,
                    shares[place] if shares and ranked.users.with_history[row] else None,
                ),
            )

    def interests(self, rows: pa.Table) -> pa.Table:
        """``user_id`` and ``user_interest`` (float32 vector) of every row of user state that has a sequence."""
        encoder = self.generators[Interest.name]
        assert isinstance(encoder, Interest)
        parts = []
        size = users_at_once(len(self.catalogue))
        for start in range(0, len(rows), size):
            users = self.users(rows[start : start + size])
            vectors = encoder.interests(users)
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            part = pa.table({USER_ID: pa.array(users.ids, pa.string()), "user_interest": column})
            parts.append(part.filter(pa.array(np.bincount(users.sequence.user, minlength=len(users)) > 0)))
        return pa.concat_tables(parts)

    def _missing(self, users: Users, row: int) -> list[str]:
        if not users.known[row]:
            return ["unknown_user"]
        return [] if users.with_history[row] else ["no_history"]


def _cold_user_scores(candidates: Candidates, n_users: int) -> Floats:
    """Of someone without a history the ranker knows nothing: what people alike take, or what is popular now."""
    popular = candidates.columns["popularity_score"]
    alike = candidates.columns.get("people_alike_score", np.full(len(popular), np.nan, np.float32))
    told = np.bincount(candidates.user, ~np.isnan(alike), n_users) > 0
    return np.nan_to_num(np.where(told[candidates.user], alike, popular), nan=-np.inf)

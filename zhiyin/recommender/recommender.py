"""The one object that makes lists: in evaluation, in batch and behind HTTP."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zhiyin.language.sentences import Teller
from zhiyin.language.words import Wording
from zhiyin.recommender.bundle import Bundle, CalibratedRanker, Lists, load_bundle
from zhiyin.recommender.calibration import ACTIVITY
from zhiyin.recommender.candidates import CandidateGenerator
from zhiyin.recommender.explanation import gather_evidence, weigh_evidence
from zhiyin.recommender.explanation.facts import Weights
from zhiyin.recommender.explanation.together import Together
from zhiyin.recommender.features import Candidates, Pairs, Scored, propose, users_at_once
from zhiyin.recommender.lists import Ranked, Recommendation, Slate
from zhiyin.recommender.ranker import Ranker
from zhiyin.recommender.recipe import Recipe
from zhiyin.recommender.slate.item_rules import ItemRules
from zhiyin.recommender.slate.pick import Picked, Scores, pick
from zhiyin.recommender.slate.rules import SlateRules
from zhiyin.recommender.slate.session import follow_session, refused
from zhiyin.recommender.state.catalogue import Catalogue, Floats, Integers, ItemState
from zhiyin.recommender.state.grades import Scale
from zhiyin.recommender.state.history import taken_codes
from zhiyin.recommender.state.session import follow_sessions, in_session
from zhiyin.recommender.state.users import Users


@dataclass(frozen=True)
class Request:
    """What a caller narrows a list by.

    ``new_only``: nothing that the user already has; None: as the recipe says. ``discoveries``: at least this share of
    the list is new to the user; None: as the rules say. ``exclude``: for each user, ids of items that are not listed.
    ``candidates``: ids of the only items that may be listed, all of them ranked; None: no limit.
    """

    new_only: bool | None = None
    discoveries: float | None = None
    exclude: Sequence[Sequence[str]] | None = None
    candidates: Sequence[str] | None = None

    def rows(self, start: int, stop: int) -> "Request":
        """The same for some of the users."""
        return self if self.exclude is None else replace(self, exclude=self.exclude[start:stop])

    def at(self, places: Sequence[int]) -> "Request":
        """The same for the users at these places."""
        return self if self.exclude is None else replace(self, exclude=[self.exclude[place] for place in places])


DEFAULT = Request()


@dataclass(frozen=True)
class Recommender:
    """Loaded from a bundle; safe to share between threads, since nothing in it changes."""

    version: str
    manifest: dict[str, Any]
    recipe: Recipe
    catalogue: Catalogue
    item_state: ItemState
    generators: dict[str, CandidateGenerator]
    rankers: dict[Lists, CalibratedRanker]
    text: Floats
    events: Integers
    rules: ItemRules
    together: Together | None = None

    @classmethod
    def load(cls, bundle: Path, rules: SlateRules | None = None) -> "Recommender":
        """Verify and load a bundle; without ``rules`` those of its recipe hold.

        Raises:
            FileNotFoundError, ValueError: no bundle there, or one that was changed.
        """
        parts, manifest = load_bundle(bundle)
        return cls.of(parts, manifest, rules)

    @classmethod
    def of(cls, parts: Bundle, manifest: dict[str, Any], rules: SlateRules | None = None) -> "Recommender":
        """From a bundle in memory and its manifest."""
        as_of = datetime.fromisoformat(manifest["as_of"])
        state = ItemState.of(parts.item_state, parts.catalogue, as_of, parts.recipe.least)
        over = ItemRules.of(rules or parts.recipe.slate, parts.catalogue)
        models = parts.generators, parts.rankers, parts.text, parts.events
        return cls(manifest["digest"], manifest, parts.recipe, parts.catalogue, state, *models, over, parts.together)

    @cached_property
    def wording(self) -> Wording:
        """The words for reasons: of the log's events, and of the dataset."""
        return Wording.of(self.manifest["event_types"], self.manifest.get("words"))

    @property
    def feature_names(self) -> list[str]:
        """The features that the rankers learned from."""
        return list(dict.fromkeys(name for each in self.rankers.values() for name in each.ranker.features))

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
        """User states as this recommender reads them."""
        grades = self.manifest.get("grades")  # None: the log has none
        users = Users.of(rows, self.catalogue, self.item_state.at)
        users = replace(users, scale=Scale(**grades)) if grades else users
        users = replace(users, taken_types=taken_codes(self.manifest.get("event_types", ())))
        return follow_sessions(users, rows, self.catalogue, self.manifest["event_types"])

    def rank(self, rows: pa.Table | list[dict[str, Any]], k: int, request: Request = DEFAULT) -> Iterator[Ranked]:
        """Ranked lists in batches of users, in the order given."""
        size = users_at_once(len(self.item_state.pool))
        for start in range(0, len(rows), size):
            yield self.rank_users(self.users(rows[start : start + size]), k, request.rows(start, start + size))

    def rank_users(self, users: Users, k: int, request: Request = DEFAULT) -> Ranked:
        """Ranked lists of one batch."""
        new_only = not self.recipe.repeats if request.new_only is None else request.new_only
        lists: Lists = "new" if new_only else "all"
        live = users.session is not None and bool(users.session.current.all())
        lists = "session" if live and lists == "all" and "session" in self.rankers else lists
        lists = lists if lists in self.rankers else next(iter(self.rankers))
        model, items, always = self.rankers[lists], self.item_state, self.rules.always
        if request.candidates is not None:
            items = items.only(self._among(request.candidates))
            always = items.pool
        users = replace(users, columns=self._complete(users, model.ranker))
        scored = Scored.by(list(self.generators.values()), users, items)
        excluded = _both(self._excluded(request.exclude), refused(users))
        candidates = propose(scored, users, self.catalogue, items, new_only, excluded, always)
        cold = ~users.with_history[candidates.user]
        known = bool(self.events[items.pool].any())
        by_ranker = model.ranker.score(candidates) if known else _cold_item_scores(candidates)
        scores = np.where(cold, _cold_user_scores(candidates, len(users)), by_ranker)
        scores = follow_session(scores, candidates, users, self.catalogue, lists == "session")
        picked = self.pick(candidates, scores, k, users, request.discoveries)
        chance = np.full(len(scores), np.nan)
        if model.calibration and known:
            activity = candidates.columns.get(ACTIVITY, np.zeros(len(scores), np.float32))
            chance[~cold] = model.calibration(scores[~cold], activity[~cold])
        return Ranked(users, scored, candidates, scores, chance, picked, lists, new_only, items)

    def _among(self, item_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        among = np.zeros(len(self.catalogue), bool)
        index = self.catalogue.index_of(pa.array(list(item_ids), pa.string()))
        among[index[index >= 0]] = True
        return among

    def _excluded(self, exclude: Sequence[Sequence[str]] | None) -> Pairs | None:
        if exclude is None:
            return None
        owner = np.repeat(np.arange(len(exclude)), [len(ids) for ids in exclude])
        item = self.catalogue.index_of(pa.array([item for ids in exclude for item in ids], pa.string()))
        return owner[item >= 0], item[item >= 0]

    def _complete(self, users: Users, ranker: Ranker) -> dict[str, Floats]:
        """The users' columns, with those that the ranker learned from and the states lack as unknown."""
        wanted = [name.removeprefix("user_") for name in ranker.features if name.startswith("user_")]
        return dict.fromkeys(wanted, np.full(len(users), np.nan, np.float32)) | users.columns

    def pick(
        self, candidates: Candidates, scores: Scores, k: int, users: Users, discoveries: float | None = None
    ) -> Picked:
        """Each user's best ``k`` candidates under the slate's rules; ``discoveries`` in place of the rules' share."""
        new = _told_by_content(candidates, self.events == 0)
        back = self.rules.kept_back(users, candidates.user, candidates.item)
        share = self.rules.rules.discoveries if discoveries is None else discoveries
        parts = self.catalogue, self.text, self.rules, k, new, back
        return pick(candidates, scores, *parts, self._discovery(candidates, scores) if share else None, share)

    def _discovery(self, candidates: Candidates, scores: Scores) -> Scores:
        """What orders the candidates that their user never took, by the ranker of such items; -inf for the others."""
        unknown = candidates.columns["baskets"] == 0
        found = np.full(len(candidates), -np.inf)
        if unknown.all():  # of lists that hold nothing else
            return scores
        if "new" in self.rankers:
            rows = np.flatnonzero(unknown)
            columns = {name: values[rows] for name, values in candidates.columns.items()}
            found[rows] = self.rankers["new"].ranker.score(
                Candidates(candidates.user[rows], candidates.item[rows], columns)
            )
            return found
        return np.where(unknown, scores, -np.inf)

    def recommend(
        self,
        users: pa.Table | list[dict[str, Any]],
        k: int = 10,
        explain: Literal["none", "text"] = "none",
        contributions: bool = False,
        request: Request = DEFAULT,
    ) -> list[Slate]:
        """A list for each row of user state (columns of users.parquet; ``{"user_id": …}`` alone: popular now).

        ``contributions``: with what each feature added to the score. ``request``: what the caller narrows.

        Raises:
            ValueError: ``k`` is below 1, ``explain`` is unknown, or a row has no user_id.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if explain not in ("none", "text"):
            raise ValueError(f"explain must be none or text, got {explain!r}")
        live = [False] * len(users) if isinstance(users, pa.Table) else [in_session(row) for row in users]
        if any(live) and not all(live):  # each by a ranker of its own
            arguments = k, explain, contributions
            made: dict[int, Slate] = {}
            for now in (True, False):
                places = [place for place, one in enumerate(live) if one == now]
                narrowed = request.at(places)
                made |= zip(places, self.recommend([users[row] for row in places], *arguments, narrowed), strict=True)
            return [made[place] for place in range(len(users))]
        slates: list[Slate] = []
        for ranked in self.rank(users, k, request):
            lists: list[list[Recommendation]] = [[] for _ in ranked.users.ids]
            for row, recommendation in self._explained(ranked, explain, contributions):
                lists[row].append(recommendation)
            for row, user_id in enumerate(ranked.users.ids):
                slates.append(Slate(user_id, lists[row], self._missing(ranked.users, row)))
        return slates

    def _explained(self, ranked: Ranked, explain: str, contributions: bool) -> Iterator[tuple[int, Recommendation]]:
        """Every place of a batch's lists, with the row of its user."""
        ranker = self.rankers[ranked.lists].ranker
        evidence = gather_evidence(
            ranked.users,
            ranked.candidates,
            ranked.chosen,
            self.catalogue,
            ranked.items,
            self.generators,
            self._weigh(ranked),
            self.wording,
            self.together,
        )
        tellers = [Teller(self.wording) for _ in ranked.users.ids]
        shares = ranker.contributions(ranked.candidates, ranked.chosen) if contributions else None
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
                    tellers[row].tell(facts) if explain == "text" else None,
                    facts,
                    shares[place] if shares and ranked.users.with_history[row] else None,
                ),
            )

    def _weigh(self, ranked: Ranked) -> Weights:
        """What each kind of fact is worth; of items that are new to a user, to the ranker that orders such items."""
        weights = weigh_evidence(self.rankers[ranked.lists].ranker, ranked.candidates, ranked.chosen)
        new = np.flatnonzero(ranked.candidates.columns["baskets"][ranked.chosen] == 0)
        if ranked.lists == "new" or "new" not in self.rankers or not len(new):
            return weights
        for kind, worth in weigh_evidence(self.rankers["new"].ranker, ranked.candidates, ranked.chosen[new]).items():
            weights[kind][new] = worth
        return weights

    def _missing(self, users: Users, row: int) -> list[str]:
        if not users.known[row]:
            return ["unknown_user"]
        return [] if users.with_history[row] else ["no_history"]


def _both(some: Pairs | None, more: Pairs) -> Pairs | None:
    if not len(more[0]):
        return some
    return more if some is None else (np.r_[some[0], more[0]], np.r_[some[1], more[1]])


def _cold_item_scores(candidates: Candidates) -> Scores:
    """Of items without an event the ranker knows nothing: their content alone orders them."""
    for name in ("content_score", "text_neighbours_score"):
        if name in candidates.columns:
            return np.nan_to_num(candidates.columns[name].astype(np.float64), nan=-np.inf)
    return np.zeros(len(candidates))


def _told_by_content(candidates: Candidates, new: npt.NDArray[np.bool_]) -> Scores:
    """How high a generator by content ranks each candidate among all items, where it is ``new`` [items]; else -inf.

    The ranker learned from items with events; of the others it knows least what matters most to it, and puts them last.
    """
    for name in ("content_rank", "text_neighbours_rank"):
        if name in candidates.columns:
            rank = np.where(new[candidates.item], candidates.columns[name].astype(np.float64), np.nan)
            return -np.nan_to_num(rank, nan=np.inf)
    return np.full(len(candidates), -np.inf)


def _cold_user_scores(candidates: Candidates, n_users: int) -> Floats:
    """Of someone without a history the ranker knows nothing: what people alike take, or what is popular now."""
    unknown = np.full(len(candidates), np.nan, np.float32)
    popular, alike = (candidates.columns.get(name, unknown) for name in ("popularity_score", "people_alike_score"))
    told = np.bincount(candidates.user, ~np.isnan(alike), n_users) > 0
    return np.nan_to_num(np.where(told[candidates.user], alike, popular), nan=-np.inf)

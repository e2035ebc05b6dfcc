"""The audit of sentences: every claim is counted again from the lake, by SQL that shares nothing with the recommender.

A claim is **false** where the lake says otherwise, and **misleading** where it is so and yet says nothing or too much:
a rhythm on few, uneven or long past gaps, an item that goes with its own name, a pair that is rarer than chance, a
phrase that a list repeats. ``dbt_project/datasets/<name>/audit.toml`` says how the raw tables are read::

    events = "select … as person, item_id, basket_id, source_row, occurred_at from transactions"
    promotions = "select … as item_id, place, starts_at, ends_at from promotions"    # where it has any

``person`` is the raw user id, ``source_row`` names an event as staging does. What the warehouse set aside, with its
reason in ``quarantined_events``, does not count. Titles, categories and labels are those of the mart ``items``.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from monitoring.audit_claims import CLAIMS
from zhiyin.settings import DATASETS, Settings
from zhiyin.warehouse import Marts

MOST_ALIKE, PLACES = 3, 10  # a phrase in a list
FILE = "audit.toml"
# Of one kind: a sentence that holds two of them says one thing twice.
SAME = ({"similar_to_chosen", "same_kind", "interest"}, {"favourite_category", "favourite_label"})
POSTED = """
select persons.person, posted.item_id, posted.basket_id, posted.event_id, posted.occurred_at at time zone 'UTC'
from posted_events as posted inner join persons using (user_id)
"""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class AuditedList:
    """A list as its user saw it. ``person``: the raw id; ``at``: the moment (UTC, naive) up to which it knew the user;
    ``items``: ``item_id``, ``title``, ``reason`` and ``evidence`` of each place."""

    person: str
    at: datetime
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Event:
    """An event that is not in the lake yet: what a user just did."""

    person: str
    item_id: str
    basket_id: str
    occurred_at: datetime


@dataclass
class Audit:
    """How many claims are true, false and misleading, by kind; and of the last two some examples."""

    lists: int = 0
    items: int = 0
    unexplained: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def count(self, verdict: str) -> int:
        return sum(count for (_, each), count in self.verdicts.items() if each == verdict)

    @property
    def claims(self) -> int:
        return self.verdicts.total()

    def add(self, kind: str, verdict: str, why: str | None, about: Mapping[str, Any]) -> None:
        self.verdicts[kind, verdict] += 1
        if verdict != "true" and len(self.examples) < 50:
            self.examples.append({"kind": kind, "verdict": verdict, "why": why, **about})

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        kinds = sorted({kind for kind, _ in self.verdicts})
        verdicts = ("true", "false", "misleading")
        return {
            "lists": self.lists,
            "items": self.items,
            "unexplained": self.unexplained,
            "claims": self.claims,
            **{verdict: self.count(verdict) for verdict in verdicts},
            "by_kind": {kind: {each: self.verdicts[kind, each] for each in verdicts} for kind in kinds},
            "examples": self.examples,
        }


def audit(
    settings: Settings,
    marts: Marts,
    lists: Sequence[AuditedList],
    state_at: datetime,
    fitted_until: datetime,
    timezone: str,
    persons: Mapping[str, str],
    since: Sequence[Event] = (),
) -> Audit:
    """Count every claim of ``lists`` again.

    Args:
        state_at: the moment of the items' state (popularity, promotions), UTC without a time zone.
        fitted_until: the end of the log in which shared baskets were counted.
        timezone: in which the sentences name days.
        persons: raw ids by pseudonym.
        since: events after the lake's.
    """
    found = Audit(len(lists), sum(len(each.items) for each in lists))
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        _open(connection, settings, marts, persons, since)
        connection.execute("set variable fitted_until = ?::timestamp", [fitted_until])
        connection.execute("set variable state_at = ?::timestamp", [state_at])
        connection.execute("set variable zone = ?", [timezone])
        rows = [
            {
                "claim": number,
                "person": each.person,
                "seen_at": each.at,
                "item_id": item["item_id"],
                "title": item["title"],
            }
            | {"kind": fact["kind"], "fact": json.dumps(fact), "said": bool(fact.get("said"))}
            for number, (each, item, fact) in enumerate(
                (each, item, fact) for each in lists for item in each.items for fact in item["evidence"]
            )
        ]
        for kind, sql in CLAIMS.items():
            mine = [row for row in rows if row["kind"] == kind]
            if not mine:
                continue
            connection.register("claims", pa.Table.from_pylist(mine))
            for claim, verdict, why in connection.execute(sql).fetchall():
                row = rows[claim]
                about = {name: row[name] for name in ("person", "item_id", "title", "said")}
                found.add(kind, verdict, why, about | {"fact": json.loads(row["fact"])})
            connection.unregister("claims")
    for each in lists:
        _read_sentences(each, found)
    return found


def _open(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    marts: Marts,
    persons: Mapping[str, str],
    since: Sequence[Event],
) -> None:
    """The tables that claims are held against: see monitoring/audit_claims.py."""
    path = DATASETS / settings.dataset / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: it says how the lake is read; see monitoring/audit.py")
    reads = tomllib.loads(path.read_text(encoding="utf-8"))
    views = set()
    for folder in sorted(settings.lake.iterdir()):
        if any(folder.rglob("*.parquet")):
            files = str(folder / "**" / "*.parquet").replace("'", "''")
            views.add(folder.name)
            connection.execute(
                f"create view \"{folder.name}\" as from read_parquet('{files}', hive_partitioning = true, "
                "union_by_name = true)"
            )
    mart = {name: str(marts.path(name)).replace("'", "''") for name in ("items", "quarantined_events", "users")}
    names = pa.table({"user_id": list(persons), "person": list(persons.values())})
    connection.register("persons", names)
    words = [
        name
        for name, kind, *_ in connection.execute(f"describe from '{mart['users']}'").fetchall()
        if kind == "VARCHAR" and name not in ("user_id", "attributes")
    ]
    listed = ", ".join(f'"{name}"' for name in words)
    connection.execute(
        "create view attributes as select persons.person, name, value from "
        f"(unpivot (from '{mart['users']}') on {listed}) as told inner join persons using (user_id)"
    )
    connection.execute(
        "create table items as select item_id, regexp_replace(trim(title), '\\s+', ' ', 'g') as title, category, "
        f"category_path, labels from '{mart['items']}'"
    )
    new = pa.Table.from_pylist(
        [vars(each) | {"source_row": None} for each in since],
        pa.schema(
            {"person": pa.string(), "item_id": pa.string(), "basket_id": pa.string(), "source_row": pa.string(),
             "occurred_at": pa.timestamp("us")}
        ),
    )  # fmt: skip
    connection.register("new_events", new)
    as_of = marts.as_of.replace(tzinfo=None)
    connection.execute(
        f"""
        create table events as
        with landed as (
            {reads["events"]}
            union all
            {POSTED if "posted_events" in views else "select null, null, null, null, null where false"}
        )
        select person, item_id, coalesce(basket_id, concat_ws(' ', 'row', person, source_row)) as basket_id, occurred_at
        from landed
        where
            occurred_at < ?::timestamp
            and item_id in (select item_id from items)
            and source_row not in (
                select source_row from '{mart["quarantined_events"]}' where source_row is not null
            )
        union all
        select person, item_id, basket_id, occurred_at from new_events
        """,
        [as_of],
    )
    if "promotions" in reads:
        connection.execute(f"create view placed_promotions as {reads['promotions']}")
    several = connection.execute("select count(*) > count(distinct basket_id) from events").fetchone()
    owner = "basket_id" if several and several[0] else "person"
    connection.execute(
        f"create view baskets as select distinct {owner} as owner, item_id from events "
        "where occurred_at < getvariable('fitted_until')"
    )


def _read_sentences(each: AuditedList, found: Audit) -> None:
    """Whether a sentence says what its facts say, no more, and not what its list has said before."""
    phrases: Counter[str] = Counter()
    for place, item in enumerate(each.items, start=1):
        about = {"person": each.person, "item_id": item["item_id"], "title": item["title"], "reason": item["reason"]}
        said = [fact for fact in item["evidence"] if fact.get("said")]
        found.unexplained += not said
        if not item["reason"]:
            found.add("sentence", "false", "there is neither a sentence nor a reason why not", about)
            continue
        verdict, why = "true", None
        if strange := _not_in_facts(item["reason"], said):
            verdict, why = "false", f"no fact holds {', '.join(strange)}"
        elif any(sum(fact["kind"] in same for fact in said) > 1 for same in SAME):
            verdict, why = "misleading", "it says one thing twice"
        else:
            for phrase in item["reason"].rstrip(".").casefold().split("; "):
                phrases[phrase] += 1
                if phrases[phrase] > MOST_ALIKE * -(-place // PLACES):
                    verdict, why = "misleading", f"the list says {phrase!r} once more"
        found.add("sentence", verdict, why, about)


def _not_in_facts(reason: str, said: Sequence[Mapping[str, Any]]) -> list[str]:
    """Numbers of a sentence that stand in none of its facts."""
    held: set[str] = {"28"}
    names: list[str] = []
    for fact in said:
        for name, value in fact.items():
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
                    held |= {word[:4], str(int(word[8:]))}
                    names.append(f"{datetime.fromisoformat(word):%B}")
                elif isinstance(word, str):
                    names.append(word)
                else:
                    held.add(f"{100 * word:.0f}" if name == "reach" else str(word))
    rest = reason.casefold()
    for word in sorted(names, key=len, reverse=True):  # a category's name may be part of a title
        rest = rest.replace(word.casefold(), "")
    months = [f"{datetime(2000, month, 1):%B}" for month in range(1, 13)]
    strange = [month for month in months if re.search(rf"\d {month.casefold()} \d", rest)]
    return strange + [number for number in NUMBER.findall(rest) if number not in held]

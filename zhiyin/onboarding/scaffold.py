"""The folder of a new dataset: source definition and staging models, written from a mapping, for people to edit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from zhiyin.onboarding.deliveries import Delivery, freshness_of
from zhiyin.onboarding.exclusions import Exclusion, block
from zhiyin.onboarding.labels import joined
from zhiyin.onboarding.mapping import Proposal
from zhiyin.onboarding.moments import SourceClock, moments_of
from zhiyin.onboarding.profile import Profile, connect
from zhiyin.onboarding.staged_events import staged_events
from zhiyin.onboarding.staging_sql import escaped, number, quoted, select_list, text
from zhiyin.settings import DATASETS
from zhiyin.store import atomic_folder
from zhiyin.store.sql import quote


def draft(
    name: str,
    profiles: Mapping[str, Profile],
    proposal: Proposal,
    clock: SourceClock,
    differing: int,
    exclusions: Sequence[Exclusion],
    delivery: Delivery,
) -> dict[str, str]:
    """The texts of the dataset's files, by name.

    Raises:
        UnclearError: moments cannot be read.
    """
    occurred_at = moments_of(profiles["events"], proposal, clock)
    events = profiles["events"], proposal, clock, occurred_at, differing
    freshness = freshness_of(profiles["events"], proposal, occurred_at)
    texts = {
        "_sources.yml": _sources(name, profiles, proposal, occurred_at, delivery, freshness, exclusions),
        f"stg_{name}__events.sql": staged_events(name, *events),
        f"stg_{name}__items.sql": _items(name, proposal, profiles["events"], occurred_at),
        f"stg_{name}__users.sql": _users(name, proposal) if "users" in profiles else "{{ no_users() }}\n",
        f"stg_{name}__promotions.sql": "{{ no_promotions() }}\n",
        f"stg_{name}__offers.sql": "{{ no_offers() }}\n",
        "words.toml": WORDS.format(name=name),
    }
    if proposal.order_only:
        texts["recipe.toml"] = RECIPE.format(name=name, repeats=str(_repeats(profiles["events"], proposal)).lower())
    for part, grain in GRAINS.items():
        texts[f"stg_{name}__{part}.yml"] = _model_yaml(name, part, grain, freshness if part == "events" else None)
    return texts


def write_dataset(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the folder of a dataset, whole.

    Raises:
        FileExistsError: the folder is there; files that an engineer edited are not overwritten.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it to start anew, or edit its models")
    with atomic_folder(folder) as temporary:
        for file, text in texts.items():
            (temporary / file).write_text(text)


WORDS = """# How reasons and the page speak of {name}: see zhiyin/language/words.py. Uncomment a line to set it.
# user = "user"
# item = "item"
# basket = "basket"
# currency = "EUR"
# promotion = "on promotion in {{reach}} of the places"
"""

_NUMBERS = ("value", "amount", "unit_price", "discount", "price")

RECIPE = """# What a bundle of {name} is: see zhiyin/recommender/recipe.py.
# The source knows the order of a user's events and not when they were. Position 7 of one user is no day of another, so
# a window of days holds whoever has the longest history, and few others. Held out is the last event of every user.
protocol = "leave_one_out"
repeats = {repeats}
"""

REPEATED = 0.1  # share of events with an item that their user had before, from which on lists may repeat

GRAINS = {
    "events": "One row per delivered event.",
    "items": "One row per item of the catalogue.",
    "users": "One row per user of whom the source knows something.",
    "promotions": "One row per promotion; the source has none.",
    "offers": "One row per offer; the source has none.",
}


def _repeats(profile: Profile, proposal: Proposal) -> bool:
    user, item = (proposal.columns["events"][part].sql for part in ("user_id", "item_id"))
    relation = profile.source.relation()
    with connect(profile.source) as connection:
        pairs = connection.execute(f"select count(*) from (select distinct {user}, {item} from {relation})").fetchall()
    return bool(1 - pairs[0][0] / profile.rows >= REPEATED)


# Rules of each part. A row without an id of its own is set aside later, so that one stops no build.
RULES: dict[str, dict[str, list[str]]] = {
    "events": {"rules": ["source is not null"]},
    "items": {"rules": ["title is not null"], "grain": ["item_id"]},
    "users": {"grain": ["user_id"]},
    "promotions": {"rules": ["item_id is not null"]},
    "offers": {"rules": ["user_id is not null"]},
}


def _sources(
    name: str,
    profiles: Mapping[str, Profile],
    proposal: Proposal,
    occurred_at: str,
    delivery: Delivery,
    freshness: dict[str, Any] | None,
    exclusions: Sequence[Exclusion],
) -> str:
    tables: list[dict[str, Any]] = []
    for table, profile in profiles.items():
        land: dict[str, Any] = profile.source.definition()
        config: dict[str, Any] = {"meta": {"land": land}}
        if table == "events":
            config |= {"event_time": occurred_at, **(freshness or {})}
            land |= {"events": True, **delivery.definition}
            land["event_types"] = sorted(
                {proposal.event_type} if proposal.event_type else {*proposal.event_types.values()}
            )
        if "user_id" in proposal.columns[table]:
            land["user"] = proposal.columns[table]["user_id"].sql
        columns = [
            {"name": column.name, "description": f"{part} of the data contract."}
            | ({"data_type": "double"} if part in _NUMBERS and column.decimal is None else {})
            for part, column in proposal.columns[table].items()
        ]
        description = f"{profile.rows} rows when it was first looked at."
        tables.append({"name": table, "description": description, "config": config, "columns": columns})
    source: dict[str, Any] = {
        "name": name,
        "description": f"The source tables of {name}, as they were landed in the lake.",
        "config": {
            "external_location": "read_parquet('{{ env_var('ZHIYIN_LAKE') }}/{name}/**/part-0.parquet')",
            "freshness": None,
        },
        "tables": tables,
    }
    if exclusions:
        source["config"]["meta"] = {"exclude": block(exclusions)}
    return str(yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, width=118, allow_unicode=True))


def _model_yaml(name: str, part: str, grain: str, freshness: dict[str, Any] | None) -> str:
    """The columns as the contract describes them, and the rules that the part keeps whatever is delivered."""
    contract = DATASETS.parent / "models" / "contract" / f"contract_{part}.yml"
    (model,) = yaml.safe_load(contract.read_text())["models"]
    rules = {"name": f"stg_{name}__{part}_keeps_its_rules", "arguments": RULES[part]}
    columns = [{key: column[key] for key in ("name", "description")} for column in model["columns"]]
    if part == "events":  # the contract says which events are excluded, by the source definition
        columns = [column for column in columns if column["name"] != "excluded_because"]
    if freshness:  # also in the build, which the DAG runs
        days = freshness["freshness"]["error_after"]["count"]
        (moment,) = (column for column in columns if column["name"] == "occurred_at")
        moment["data_tests"] = [{"fresh": {"arguments": {"days": days}}}]
    staged = {"name": f"stg_{name}__{part}", "description": grain, "data_tests": [{"holds": rules}], "columns": columns}
    return str(yaml.safe_dump({"version": 2, "models": [staged]}, sort_keys=False, width=118, allow_unicode=True))


def _items(name: str, proposal: Proposal, profile: Profile, occurred_at: str) -> str:
    items = proposal.columns["items"]
    available = f"coalesce(try_cast({items['available'].sql} as boolean), true)" if "available" in items else "true"
    with connect(profile.source) as connection:
        first = connection.execute(f"select min({occurred_at})::date from {profile.source.relation()}").fetchall()[0][0]
    placed = [quoted(joined(items[part])) for part in ("department", "category") if part in items]
    levels = [f"{{{{ clean('{sql}') }}}}" for sql in placed]
    labels = "null::varchar[]"
    if "labels" in items:
        labels = f"{{{{ labels('{quoted(joined(items['labels']))}', '{proposal.label_separator}') }}}}"
    path = f"concat_ws(' > ', {', '.join(levels)})" if levels else "null::varchar"
    groups = [
        ("ids", [("item_id", "item_id")]),
        ("texts", [("title", "coalesce(title, item_id)"), ("description", "description"),
                   ("document", "lower(concat_ws(', ', coalesce(title, item_id), brand, "
                                "array_to_string(levels, ', '), array_to_string(labels, ', '), description))")]),
        ("attributes", [("category_path", "nullif(array_to_string(levels, ' > '), '')"), ("department", "levels[1]"),
                        ("category", "coalesce(levels[2], levels[1])"), ("labels", "labels"), ("brand", "brand"),
                        ("price", "price"), ("attributes", "null::varchar"), ("image_url", "image_url"),
                        ("available", "available"), ("excluded_because", "null::varchar")]),
        ("timestamps: the catalogue is undated, so it holds from the first day of the data",
         [("valid_from", f"timestamp {quote(first)}")]),
    ]  # fmt: skip
    return f"""with source as (

    select * from {{{{ source('{name}', 'items') }}}}

),

items as (

    select
        {text(items, "item_id")} as item_id,
        {text(items, "title")} as title,
        {text(items, "description")} as description,
        {text(items, "brand")} as brand,
        {path} as path,
        {labels} as labels,
        nullif(greatest({number(items, "price", "double")}, 0), 0) as price,
        {text(items, "image_url")} as image_url,
        {available} as available
    from source

),

-- An item that is delivered twice is taken once.
known as (

    select
        *,
        {{{{ levels('path') }}}} as levels
    from items
    where item_id is not null
    qualify row_number() over (partition by item_id order by title, description, price) = 1

)

select
{select_list(groups)}
from known
"""


def _users(name: str, proposal: Proposal) -> str:
    users = proposal.columns["users"]
    age_band = text(users, "age_band")
    if "age" in users and "age_band" not in users:
        age_band = f"{{{{ age_band('try_cast({escaped(users['age'])} as integer)') }}}}"
    order = ", ".join(column.sql for column in users.values())
    parts = ["gender", "region", "income_band", "occupation", "household_size", "kids_count", "home_ownership"]
    groups = [
        ("ids", [("user_id", f"pseudonym({text(users, 'user_id')})")]),
        ("attributes", [("age_band", age_band), *((part, text(users, part)) for part in [*parts, "marital_status"]),
                        ("attributes", "null::varchar")]),
        ("timestamps: undated, so true from the first day of the data", [("valid_from", "null::timestamp")]),
    ]  # fmt: skip
    return f"""with source as (

    select * from {{{{ source('{name}', 'users') }}}}

)

select
{select_list(groups)}
from source
where {text(users, "user_id")} is not null
qualify row_number() over (partition by {text(users, "user_id")} order by {order}) = 1
"""

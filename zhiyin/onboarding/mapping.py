"""Maps source columns to the data contract by name and content; an unclear column is an error with its cure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from zhiyin.contract import EVENT_TYPES
from zhiyin.onboarding.labels import settle_labels
from zhiyin.onboarding.profile import Column, Profile, connect

# Usual column names of each part of the contract, in lower case without signs.
_USER = "user userid uid customer customerid custid custno customerno client clientid member memberid visitor visitorid"
_USER += " household householdid shopper shopperid account accountid person personid buyer buyerid reviewerid"
_ITEM = "item itemid iid product productid productno sku article articleid movie movieid film filmid song songid track"
_ITEM += " trackid book bookid asin isbn ean gtin stockcode businessid"
NAMES: dict[str, dict[str, str]] = {
    "events": {
        "user_id": _USER,
        "item_id": _ITEM,
        "occurred_at": "occurredat timestamp time ts datetime date eventtime eventts eventtimestamp createdat "
        "orderedat orderdate "
        "purchasedat purchasedate boughtat transactiontimestamp transactiondate invoicedate unixtime",
        "position": "position pos seq sequence sequenceno step",
        "event_type": "eventtype event type action behavior behaviour interaction",
        "value": "value quantity qty units pieces rating stars score",
        "amount": "amount total linetotal revenue salesvalue paid",
        "discount": "discount discountamount rebate",
        "query_text": "querytext query searchterm searchquery keywords",
        "basket_id": "basketid basket orderid order orderno invoice invoiceno receipt receiptid transactionid cartid",
        "session_id": "sessionid session visitid",
        "event_id": "eventid id",
        "ingested_at": "ingestedat loadedat receivedat insertedat",
    },
    "items": {
        "item_id": f"{_ITEM} id",
        "title": "title name itemname productname label movietitle",
        "description": "description desc details summary plot",
        "department": "department dept section maincategory",
        "category": "category categories categorypath class productcategory producttype",
        "labels": "labels tags tag genre genres keywords topics",
        "brand": "brand maker manufacturer vendor author artist publisher studio",
        "price": "price listprice unitprice retailprice",
        "image_url": "imageurl image picture thumbnail poster",
        "available": "available instock active isavailable",
    },
    "users": {
        "user_id": f"{_USER} id",
        "age": "age years",
        "age_band": "ageband agegroup agerange",
        "gender": "gender sex",
        "region": "region state country",
        "income_band": "income incomeband",
        "occupation": "occupation job profession",
        "household_size": "householdsize",
        "kids_count": "kidscount kids children",
        "home_ownership": "homeownership",
        "marital_status": "maritalstatus",
    },
}
REQUIRED = {"events": ("user_id", "item_id"), "items": ("item_id", "title"), "users": ("user_id",)}

TYPES = {
    "view": "view pageview pv detailview browse",
    "search": "search query",
    "click": "click clicked",
    "cart": "cart addtocart atc addcart",
    "purchase": "purchase purchased buy bought order ordered transaction checkout sale",
    "rating": "rating rate rated review",
}
# The event type that the name of a numeric column implies when no column has the type.
IMPLIED = {"rating": "rating", "stars": "rating", "quantity": "purchase", "qty": "purchase", "pieces": "purchase"}

KNOWN_SHARE = 0.5  # a column is that of the items when at least this share of its values is in the catalogue


class UnclearError(ValueError):
    """A mapping that only the engineer can decide; the message names the part, the candidate columns and the flag."""


@dataclass(frozen=True)
class Proposal:
    """The mapping: by table, contract part -> column."""

    columns: Mapping[str, Mapping[str, Column]]
    event_type: str | None  # of all events, where no column has it
    event_types: Mapping[str, str] = field(default_factory=dict)  # a value of the column -> type
    reasons: Mapping[str, str] = field(default_factory=dict)  # "events.user_id" -> why this column
    label_separator: str | None = None  # between two labels of an item


def plain(name: str) -> str:
    """A column's name without case, signs and a type written behind a colon."""
    return re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower())


def propose(profiles: Mapping[str, Profile], given: Mapping[str, str]) -> Proposal:
    """Map the sources to the contract; ``given``: the engineer's answers, such as ``events.user_id=cust_no``.

    Raises:
        UnclearError: a part has several possible columns, or a required one none.
    """
    _check_given(profiles, given)
    columns: dict[str, dict[str, Column]] = {}
    reasons: dict[str, str] = {}
    for table, profile in profiles.items():
        columns[table] = {}
        for part in NAMES[table]:
            found = _find(table, part, profile, given)
            if found:
                columns[table][part], reasons[f"{table}.{part}"] = found
    events = columns["events"]
    _find_by_content(profiles, columns, reasons)
    for table, parts in REQUIRED.items():
        for part in parts if table in profiles else ():
            if part not in columns[table]:
                raise UnclearError(_ask(table, part, "no column matches clearly", profiles[table].names))
    if "occurred_at" not in events and "position" not in events:
        raise UnclearError(
            _ask("events", "occurred_at", "no column matches clearly", profiles["events"].names)
            + " (or, where the source knows an order only, --map events.position=COLUMN)"
        )
    separator = settle_labels(profiles["items"], columns["items"], given, reasons)
    _check_twice(columns)
    event_type, event_types = _event_types(profiles["events"], events, given, reasons)
    return Proposal(columns, event_type, event_types, reasons, separator)


def _check_given(profiles: Mapping[str, Profile], given: Mapping[str, str]) -> None:
    for key, column in given.items():
        table, _, part = key.partition(".")
        if table not in profiles or (part not in NAMES.get(table, {}) and not part.startswith("event_type.")):
            parts = ", ".join(f"{name}.{part}" for name in profiles for part in NAMES[name])
            raise UnclearError(f"--map {key}={column}: there is no {key}; there are {parts}")
        if "." not in part and part != "event_type" and profiles[table].column(column) is None:
            raise UnclearError(
                f"--map {key}={column}: {table} has no column {column}; it has {_list(profiles[table].names)}"
            )


def _find(table: str, part: str, profile: Profile, given: Mapping[str, str]) -> tuple[Column, str] | None:
    """The column that the engineer named, or the one with a usual name."""
    if (name := given.get(f"{table}.{part}")) is not None:
        column = profile.column(name)
        return (column, "you said so") if column else None
    taken = {name for key, name in given.items() if key.startswith(f"{table}.")}
    free = [column for column in profile.columns if column.name not in taken]
    exact = [column for column in free if plain(column.name) == plain(part)]
    if len(exact) == 1:
        return exact[0], "its name"
    called = [column for column in free if plain(column.name) in NAMES[table][part].split()]
    if len(called) > 1:
        raise UnclearError(_ask(table, part, "several columns match", [column.name for column in called]))
    return (called[0], "its name") if called else None


def _find_by_content(
    profiles: Mapping[str, Profile], columns: dict[str, dict[str, Column]], reasons: dict[str, str]
) -> None:
    """The only column of moments; the only column whose values are ids of the catalogue."""
    events, mapped = profiles["events"], columns["events"]
    used = {column.name for column in mapped.values()}
    if "occurred_at" not in mapped and "position" not in mapped:
        moments = [c for c in events.columns if c.type.startswith("TIMESTAMP") and c.name not in used]
        if len(moments) == 1:
            mapped["occurred_at"], reasons["events.occurred_at"] = moments[0], "the only column of moments"
    if "item_id" not in mapped and "item_id" in columns["items"]:
        known = [
            c for c in events.columns if c.name not in used and known_share(profiles, c, columns["items"]["item_id"])
        ]
        if len(known) == 1:
            mapped["item_id"], reasons["events.item_id"] = known[0], "its values are ids of the catalogue"


def known_share(profiles: Mapping[str, Profile], column: Column, item_id: Column) -> bool:
    """Whether most of the values of a column of the events are ids of the catalogue."""
    events, items = profiles["events"].source, profiles["items"].source
    with connect(events, items) as connection:
        share = connection.execute(
            f"select count(*) filter (where value in (select {item_id.sql}::varchar from {items.relation()}))"
            " / count(*)"
            f" from (select distinct {column.sql}::varchar as value from {events.relation()})"
        ).fetchall()[0][0]
    return bool(share >= KNOWN_SHARE)


def _check_twice(columns: Mapping[str, Mapping[str, Column]]) -> None:
    for table, parts in columns.items():
        names = [column.name for column in parts.values()]
        for part, column in parts.items():
            if names.count(column.name) > 1:
                raise UnclearError(
                    f"{table}.{part}: column {column.name} is mapped twice; say --map {table}.{part}=COLUMN"
                )


def _event_types(
    profile: Profile, mapped: dict[str, Column], given: Mapping[str, str], reasons: dict[str, str]
) -> tuple[str | None, dict[str, str]]:
    """The type of all events, or the type for each value of the column that has it."""
    said = given.get("events.event_type")
    if said in EVENT_TYPES and profile.column(said) is None:
        reasons["events.event_type"] = "you said so"
        return said, {}
    if (column := mapped.get("event_type")) is None:
        value = mapped.get("value")
        implied = IMPLIED.get(plain(value.name)) if value else None
        implied = implied or ("purchase" if {"basket_id", "amount"} & set(mapped) else None)
        if implied is None:
            raise UnclearError(
                "events.event_type: no column tells what users did; say --map events.event_type=COLUMN, or one type "
                f"for all: --map events.event_type={'|'.join(EVENT_TYPES)}"
            )
        reasons["events.event_type"] = "the other columns imply it"
        return implied, {}
    with connect(profile.source) as connection:
        rows = connection.execute(
            f"select distinct {column.sql}::varchar from {profile.source.relation()} where {column.sql} is not null"
            " order by 1 limit 50"
        ).fetchall()
    types: dict[str, str] = {}
    for (value,) in rows:
        meant = given.get(f"events.event_type.{value}") or next(
            (kind for kind, names in TYPES.items() if plain(value) in names.split()), None
        )
        if meant not in EVENT_TYPES:
            raise UnclearError(
                f"events.event_type: the value {value!r} of {column.name} is no known type; "
                f"say --map events.event_type.{value}={'|'.join(EVENT_TYPES)}"
            )
        types[value] = meant
    return None, types


def _ask(table: str, part: str, why: str, candidates: list[str]) -> str:
    return f"{table}.{part}: {why}; say --map {table}.{part}=COLUMN, with one of {_list(candidates)}"


def _list(names: list[str]) -> str:
    return ", ".join(names)

"""Maps source columns to the data contract by name and content; what is unclear is asked, with the flag to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zhiyin.contract import EVENT_TYPES
from zhiyin.onboarding.labels import settle_labels
from zhiyin.onboarding.names import IMPLIED, NAMES, REQUIRED, TYPES, called_money, plain
from zhiyin.onboarding.profile import Column, Profile, connect

KNOWN_SHARE = 0.5  # a column is that of the items when at least this share of its values is in the catalogue


class UnclearError(ValueError):
    """What only the engineer can decide; the message names the part, the candidates and the flag."""


@dataclass(frozen=True)
class Proposal:
    """The mapping: by table, contract part -> column; and what is open, each question with the flag that answers it."""

    columns: Mapping[str, Mapping[str, Column]]
    event_type: str | None  # of all events, where no column has it
    event_types: Mapping[str, str] = field(default_factory=dict)  # a value of the column -> type
    reasons: Mapping[str, str] = field(default_factory=dict)  # "events.user_id" -> why this column
    questions: tuple[str, ...] = ()  # without an answer nothing can be written
    advice: tuple[str, ...] = ()  # what goes on without an answer
    label_separator: str | None = None  # between two labels of an item

    @property
    def order_only(self) -> bool:
        """Whether the source knows positions and no moments."""
        return "occurred_at" not in self.columns["events"]

    def ignored(self, table: str, profile: Profile) -> list[Column]:
        """Columns of a source that no part of the contract takes."""
        taken = {column.name for column in self.columns.get(table, {}).values()}
        return [column for column in profile.columns if column.name not in taken]


def propose(profiles: Mapping[str, Profile], given: Mapping[str, str]) -> Proposal:
    """Map the sources to the contract; ``given``: the engineer's answers, such as ``events.user_id=cust_no``.

    An empty answer, ``events.amount=``, says that no column is that part. What is still unclear is in ``questions``.
    """
    questions = _wrong_answers(profiles, given)
    columns: dict[str, dict[str, Column]] = {}
    reasons: dict[str, str] = {}
    asked = {key for key, column in given.items() if column}
    for table, profile in profiles.items():
        columns[table] = {}
        for part in NAMES[table]:
            try:
                found = _find(table, part, profile, given)
            except UnclearError as unclear:
                questions.append(str(unclear))
                asked.add(f"{table}.{part}")
                continue
            if found:
                columns[table][part], reasons[f"{table}.{part}"] = found
    events = columns["events"]
    if "amount" in events and "events.unit_price" not in given:
        events.pop("unit_price", None)
    people = columns.get("users", {})
    if "age" in people and not people["age"].numeric and "users.age_band" not in given and "age_band" not in people:
        people["age_band"], reasons["users.age_band"] = people.pop("age"), "its name, and it holds no numbers"
    _find_by_content(profiles, columns, reasons)
    for table, parts in REQUIRED.items():
        for part in parts if table in profiles else ():
            if part not in columns[table] and f"{table}.{part}" not in asked:
                questions.append(_ask(table, part, "no column matches clearly", profiles[table].names))
    if not {"occurred_at", "position"} & set(events) and not {"events.occurred_at", "events.position"} & asked:
        questions.append(
            _ask("events", "occurred_at", "no column matches clearly", profiles["events"].names)
            + " (or, where the source knows an order only, --map events.position=COLUMN)"
        )
    separator = settle_labels(profiles["items"], columns["items"], given, reasons)
    questions += _mapped_twice(columns)
    event_type, event_types = _event_types(profiles["events"], events, given, reasons, questions)
    if "value" not in events and "rating" in (event_type, *event_types.values()) and "events.value" not in asked:
        questions.append("events.value: ratings need their number; say --map events.value=COLUMN")
    proposal = Proposal(columns, event_type, event_types, reasons)
    money = _unmapped_money(profiles["events"], proposal, given)
    questions += [
        f"{table}.{part}: {column.name} holds numbers such as {column.samples[-1]}, where the comma may stand before "
        f"decimals or between thousands; say --option {table}.decimal_separator=, or --option "
        f"{table}.decimal_separator=."
        for table, parts in columns.items()
        for part, column in parts.items()
        if column.unclear
    ]
    return Proposal(columns, event_type, event_types, reasons, tuple(questions), tuple(money), separator)


def _wrong_answers(profiles: Mapping[str, Profile], given: Mapping[str, str]) -> list[str]:
    wrong = []
    for key, column in given.items():
        table, _, part = key.partition(".")
        if table not in profiles or (part not in NAMES.get(table, {}) and not part.startswith("event_type.")):
            parts = ", ".join(f"{name}.{part}" for name in profiles for part in NAMES[name])
            wrong.append(f"--map {key}={column}: there is no {key}; there are {parts}")
        elif column and "." not in part and part != "event_type" and profiles[table].column(column) is None:
            wrong.append(f"--map {key}={column}: {table} has no column {column}; it has {_list(profiles[table].names)}")
    return wrong


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


def _mapped_twice(columns: Mapping[str, Mapping[str, Column]]) -> list[str]:
    twice = []
    for table, parts in columns.items():
        names = [column.name for column in parts.values()]
        twice += [
            f"{table}.{part}: column {column.name} is mapped twice; say --map {table}.{part}=COLUMN"
            for part, column in parts.items()
            if names.count(column.name) > 1
        ]
    return twice


def _event_types(
    profile: Profile,
    mapped: dict[str, Column],
    given: Mapping[str, str],
    reasons: dict[str, str],
    questions: list[str],
) -> tuple[str | None, dict[str, str]]:
    """The type of all events, or the type for each value of the column that has it."""
    said = given.get("events.event_type")
    if said in EVENT_TYPES and profile.column(said) is None:
        reasons["events.event_type"] = "you said so"
        return said, {}
    if (column := mapped.get("event_type")) is None:
        value = mapped.get("value")
        implied = IMPLIED.get(plain(value.name)) if value else None
        implied = implied or ("purchase" if {"basket_id", "amount", "unit_price"} & set(mapped) else None)
        if implied is None:
            questions.append(
                "events.event_type: no column tells what users did; say --map events.event_type=COLUMN, or one type "
                f"for all: --map events.event_type={'|'.join(EVENT_TYPES)}"
            )
            return None, {}
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
        if meant in EVENT_TYPES:
            types[value] = meant
        else:
            questions.append(
                f"events.event_type: the value {value!r} of {column.name} is no known type; "
                f"say --map events.event_type.{value}={'|'.join(EVENT_TYPES)}"
            )
    return None, types


def _unmapped_money(profile: Profile, proposal: Proposal, given: Mapping[str, str]) -> list[str]:
    """A question where events have a column of money, and nothing takes one."""
    settled = {"events.amount", "events.unit_price"} & set(given)
    if settled or {"amount", "unit_price"} & set(proposal.columns["events"]):
        return []
    money = [
        column.name for column in proposal.ignored("events", profile) if column.numeric and called_money(column.name)
    ]
    if not money:
        return []
    return [
        f"events.amount: {_list(money)} may hold what was paid, and nothing takes it; say --map events.amount=COLUMN "
        "(of the whole line), --map events.unit_price=COLUMN (of a piece), or --map events.amount= (there is none)"
    ]


def _ask(table: str, part: str, why: str, candidates: list[str]) -> str:
    return f"{table}.{part}: {why}; say --map {table}.{part}=COLUMN, with one of {_list(candidates)}"


def _list(names: list[str]) -> str:
    return ", ".join(names)

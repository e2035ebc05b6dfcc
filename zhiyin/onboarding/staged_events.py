"""The staging model of the events of a new dataset."""

from collections.abc import Mapping

from zhiyin.onboarding.mapping import Proposal
from zhiyin.onboarding.moments import SourceClock, moment
from zhiyin.onboarding.profile import Column, Profile
from zhiyin.onboarding.staging_sql import escaped, number, number_argument, select_list, text
from zhiyin.store.sql import quote

NUMBERS = {"value": "double", "amount": "decimal(12, 2)", "unit_price": "double", "discount": "decimal(12, 2)"}


def staged_events(
    name: str, profile: Profile, proposal: Proposal, clock: SourceClock, occurred_at: str, differing: int
) -> str:
    """The model's SQL; ``differing``: rows that only their numbers tell apart, so that these are part of the identity.

    Raises:
        UnclearError: the moments of delivery cannot be read.
    """
    events = proposal.columns["events"]
    ingested_at = "null::timestamp"
    if "ingested_at" in events:
        ingested_at = moment(profile.source, events["ingested_at"], clock, "ingested_at")
    key = ["user_id", "item_id", "event_type", "occurred_at"]
    key += [part for part in ("basket_id", "session_id", "query_text") if part in events]
    if differing:
        key += [
            part for part in ("value", "amount", "discount") if part in events or (part == "amount" and _priced(events))
        ]
    event_id, source_row = f"{{{{ event_id({key}) }}}}", "concat_ws('/', basket_id, item_id, occurred_at)"
    if "event_id" in events:
        event_id, source_row = "md5(source_row)", "source_row"
    read = [
        ("raw_user", text(events, "user_id")),
        ("item_id", text(events, "item_id")),
        ("basket_id", text(events, "basket_id")),
        ("session_id", text(events, "session_id")),
        ("event_type", _event_type(proposal)),
        ("value", number(events, "value", "double") if "value" in events else "1::double"),
        ("amount", _amount(events)),
        ("discount", number(events, "discount", "decimal(12, 2)")),
        ("query_text", text(events, "query_text")),
        ("occurred_at", occurred_at),
        ("ingested_at", ingested_at),
        *([("source_row", text(events, "event_id"))] if "event_id" in events else []),
    ]
    held = {part: kind for part, kind in NUMBERS.items() if part in events}
    if held:
        fields = (
            f"'{part}': ('{escaped(events[part])}', {number_argument(events[part], held[part])})" for part in held
        )
        read.append(("unreadable", f"{{{{ unreadable({{{', '.join(fields)}}}) }}}}"))
    inner = ",\n".join(f"        {sql} as {alias}" for alias, sql in read)
    groups = [
        ("ids", [("event_id", event_id), ("source_row", source_row), ("user_id", "user_id"), ("item_id", "item_id"),
                 ("basket_id", "basket_id"), ("session_id", "session_id")]),
        ("facts", [("event_type", "event_type"),
                   ("value", "value"), ("amount", "amount"),
                   ("discount", "discount"), ("query_text", "query_text"), ("source", quote(name)),
                   ("unreadable", "unreadable" if held else "null::varchar")]),
        ("timestamps", [("occurred_at", "occurred_at"), ("ingested_at", "ingested_at")]),
    ]  # fmt: skip
    title = ""
    if "occurred_at" not in events:
        title = f"-- The source knows an order only: a position counts as {clock.step} after {clock.epoch}.\n"
    return f"""{title}with source as (

    select * from {{{{ source('{name}', 'events') }}}}

),

events as (

    select
{inner}
    from source

),

-- Raw user ids end here.
pseudonyms as materialized (

    {{{{ pseudonyms("events", "raw_user") }}}}

),

pseudonymised as (

    select
        events.*,
        pseudonyms.user_id
    from events
    left join pseudonyms on events.raw_user = pseudonyms.raw_user

)

select
{select_list(groups)}
from pseudonymised
"""


def _priced(events: Mapping[str, Column]) -> bool:
    """Whether what was paid follows from the price of a piece."""
    return "unit_price" in events and "amount" not in events


def _amount(events: Mapping[str, Column]) -> str:
    if not _priced(events):
        return number(events, "amount", "decimal(12, 2)")
    pieces = f"coalesce({number(events, 'value', 'double')}, 1)" if "value" in events else "1"
    return f"try_cast({pieces} * {number(events, 'unit_price', 'double')} as decimal(12, 2))"


def _event_type(proposal: Proposal) -> str:
    if proposal.event_type is not None:
        return quote(proposal.event_type)
    column = proposal.columns["events"]["event_type"].sql
    cases = (f"            when {quote(value)} then {quote(kind)}" for value, kind in proposal.event_types.items())
    return "\n".join([f"case {column}::varchar", *cases, f"            else {column}::varchar", "        end"])

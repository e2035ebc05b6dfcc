"""The staging model of the events of a new dataset."""

from zhiyin.onboarding.mapping import Proposal, UnclearError
from zhiyin.onboarding.moments import SourceClock, moment
from zhiyin.onboarding.profile import Profile
from zhiyin.onboarding.staging_sql import number, quoted, select_list, text
from zhiyin.store.sql import quote


def staged_events(name: str, profile: Profile, proposal: Proposal, clock: SourceClock, occurred_at: str) -> str:
    events = proposal.columns["events"]
    if "value" not in events and "rating" in (proposal.event_type, *proposal.event_types.values()):
        raise UnclearError("events.value: ratings need their number; say --map events.value=COLUMN")
    ingested_at = "null::timestamp"
    if "ingested_at" in events:
        ingested_at = moment(profile.source, events["ingested_at"], clock, "ingested_at")
    key = ["user_id", "item_id", "event_type", "occurred_at"]
    key += [part for part in ("basket_id", "session_id", "query_text") if part in events]
    event_id, source_row = f"{{{{ event_id({key}) }}}}", "concat_ws('/', basket_id, item_id, occurred_at)"
    if "event_id" in events:
        event_id, source_row = "md5(source_row)", "source_row"
    read = [
        ("raw_user", text(events, "user_id")),
        ("item_id", text(events, "item_id")),
        ("basket_id", text(events, "basket_id")),
        ("session_id", text(events, "session_id")),
        ("event_type", _event_type(proposal)),
        ("value", number(events, "value", "double")),
        ("without_value", f"{events['value'].sql} is null" if "value" in events else "true"),
        ("amount", number(events, "amount", "decimal(12, 2)")),
        ("discount", number(events, "discount", "decimal(12, 2)")),
        ("query_text", text(events, "query_text")),
        ("occurred_at", occurred_at),
        ("ingested_at", ingested_at),
        *([("source_row", text(events, "event_id"))] if "event_id" in events else []),
    ]
    numbers = {
        part: (events[part].sql, sql)
        for part, sql in read
        if part in ("value", "amount", "discount") and part in events
    }
    if numbers:
        fields = ", ".join(
            f"'{part}': ('{quoted(held)}', '{quoted(number)}')" for part, (held, number) in numbers.items()
        )
        read.append(("unreadable", f"{{{{ unreadable({{{fields}}}) }}}}"))
    inner = ",\n".join(f"        {sql} as {alias}" for alias, sql in read)
    groups = [
        ("ids", [("event_id", event_id), ("source_row", source_row), ("user_id", "user_id"), ("item_id", "item_id"),
                 ("basket_id", "basket_id"), ("session_id", "session_id")]),
        ("facts", [("event_type", "event_type"),
                   ("value", "if(without_value and event_type != 'rating', 1, value)"), ("amount", "amount"),
                   ("discount", "discount"), ("query_text", "query_text"), ("source", quote(name)),
                   ("unreadable", "unreadable" if numbers else "null::varchar")]),
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


def _event_type(proposal: Proposal) -> str:
    if proposal.event_type is not None:
        return quote(proposal.event_type)
    column = proposal.columns["events"]["event_type"].sql
    cases = (f"            when {quote(value)} then {quote(kind)}" for value, kind in proposal.event_types.items())
    return "\n".join([f"case {column}::varchar", *cases, f"            else {column}::varchar", "        end"])

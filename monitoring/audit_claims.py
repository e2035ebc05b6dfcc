"""The SQL of each kind of claim: from ``claims`` (claim, person, seen_at, item_id, title, fact as JSON) to a verdict.

Each query gives a row per claim: claim, verdict (true, false or misleading), and why. It reads ``events`` (person,
item_id, basket_id, occurred_at), ``items``, ``baskets`` (owner, item_id: each item once), ``attributes`` (person, name,
value), ``placed_promotions``, and the variables ``state_at``, ``fitted_until`` and ``zone``.
"""

_DAY = "(max(occurred_at) at time zone 'UTC' at time zone getvariable('zone'))::date"


def _verdict(false: dict[str, str], misleading: dict[str, str]) -> str:
    """The columns verdict and why; conditions that are unknown (null) are false ones."""
    cases = [(condition, "false", why) for why, condition in false.items()]
    cases += [(condition, "misleading", why) for why, condition in misleading.items()]
    whens = [f"when coalesce({condition}, true) then ['{verdict}', '{why}']" for condition, verdict, why in cases]
    return f"case {' '.join(whens)} else ['true', null] end as told"


def _query(ctes: str, source: str, false: dict[str, str], misleading: dict[str, str] | None = None) -> str:
    return f"""
        with {ctes},
        verdicts as (select claim, {_verdict(false, misleading or {})} from {source})
        select claim, told[1], told[2] from verdicts order by claim
    """


# What the person's events say of an item that a claim names, ``named``.
def _mine(named: str) -> str:
    return f"""
        mine as (
            select
                claims.claim,
                count(distinct events.basket_id) as times,
                {_DAY} as last_day
            from claims
            inner join events
                on
                    events.person = claims.person and events.item_id = {named}
                    and events.occurred_at < claims.seen_at
            group by claims.claim
        )
    """


_TIMES = "mine.times is distinct from (claims.fact ->> 'times')::integer"
_LAST = "mine.last_day is distinct from (claims.fact ->> 'last_chosen')::date"
_NAMED = "claims.fact ->> 'item_id'"

CHOSEN_BEFORE = _query(
    f"""
        {_mine("claims.item_id")},
        visits as (
            select
                claims.claim,
                min(events.occurred_at) as visited_at,
                row_number() over (partition by claims.claim order by min(events.occurred_at) desc) as nth
            from claims
            inner join events
                on
                    events.person = claims.person and events.item_id = claims.item_id
                    and events.occurred_at < claims.seen_at
            group by claims.claim, events.basket_id
        ),
        gaps as (
            select
                visits.claim,
                epoch(visits.visited_at - lag(visits.visited_at) over past) / 86400 as days
            from visits
            inner join claims on visits.claim = claims.claim
            where visits.nth <= (claims.fact ->> 'gaps')::integer + 1
            window past as (partition by visits.claim order by visits.visited_at)
        ),
        rhythm as (
            select claim, count(days) as gaps, avg(days) as days, stddev_pop(days) as spread
            from gaps
            group by claim
        ),
        latest as (select claim, max(visited_at) as visited_at from visits group by claim),
        checked as (
            select
                claims.*,
                mine.times as found_times,
                mine.last_day,
                claims.fact ->> 'usual_gap_days' as usual,
                rhythm.gaps,
                rhythm.days,
                rhythm.spread,
                epoch(claims.seen_at - latest.visited_at) / 86400 as since
            from claims
            left join mine on claims.claim = mine.claim
            left join rhythm on claims.claim = rhythm.claim
            left join latest on claims.claim = latest.claim
        )
    """,
    "checked",
    {
        "another number of times": "found_times is distinct from (fact ->> 'times')::integer",
        "another last day": "last_day is distinct from (fact ->> 'last_chosen')::date",
        "another rhythm": "usual is not null and abs(days - usual::integer) > 0.51",
    },
    {
        "fewer than three gaps": "usual is not null and gaps < 3",
        "uneven gaps": "usual is not null and spread > 0.41 * days",
        "long overdue": "usual is not null and since > 3 * days",
    },
)

SIMILAR = _query(
    f"""
        {_mine(_NAMED)},
        asked as (
            select distinct item_id from claims
            union
            select {_NAMED} from claims
        ),
        held as (select baskets.* from baskets inner join asked on baskets.item_id = asked.item_id),
        sizes as (select item_id, count(*) as baskets from held group by item_id),
        pairs as (select distinct item_id, {_NAMED} as other from claims),
        shared as (
            select pairs.item_id, pairs.other, count(*) as baskets
            from pairs
            inner join held as one on pairs.item_id = one.item_id
            inner join held as two on pairs.other = two.item_id and one.owner = two.owner
            group by all
        ),
        total as (select count(distinct owner) as baskets from baskets),
        checked as (
            select
                claims.claim,
                claims.fact,
                {_TIMES} as times_differ,
                {_LAST} as last_differs,
                lower(named.title) = lower(shown.title) as itself,
                shared.baskets as together,
                shared.baskets * total.baskets / (a.baskets * b.baskets) as lift
            from claims
            cross join total
            left join mine on claims.claim = mine.claim
            left join items as named on named.item_id = {_NAMED}
            left join items as shown on shown.item_id = claims.item_id
            left join shared on shared.item_id = claims.item_id and shared.other = {_NAMED}
            left join sizes as a on a.item_id = claims.item_id
            left join sizes as b on b.item_id = {_NAMED}
        )
    """,
    "checked",
    {
        "another number of times": "times_differ",
        "another last day": "last_differs",
        "another number of baskets with both": "together is distinct from (fact ->> 'together')::integer",
        "another lift": "abs(lift - (fact ->> 'lift')::double) > 0.006",
    },
    {
        "it names its own title": "itself",
        "few baskets with both": "together < 10",
        "no more often than by chance": "lift <= 1",
    },
)

SAME_KIND = _query(
    f"""
        {_mine(_NAMED)},
        checked as (
            select
                claims.claim,
                {_TIMES} as times_differ,
                {_LAST} as last_differs,
                named.category_path is distinct from shown.category_path
                or named.labels is distinct from shown.labels as other_kind,
                lower(named.title) = lower(shown.title) as itself
            from claims
            left join mine on claims.claim = mine.claim
            left join items as named on named.item_id = {_NAMED}
            left join items as shown on shown.item_id = claims.item_id
        )
    """,
    "checked",
    {
        "another number of times": "times_differ",
        "another last day": "last_differs",
        "not of one kind": "other_kind",
    },
    {"it names its own title": "itself"},
)

# The latest whole moments of a person that hold at least 40 events.
_WINDOW = """
    moments as (
        select
            claims.claim,
            events.occurred_at,
            count(*) as held
        from claims
        inner join events on events.person = claims.person and events.occurred_at < claims.seen_at
        group by claims.claim, events.occurred_at
    ),
    later as (
        select
            claim,
            occurred_at,
            sum(held) over (partition by claim order by occurred_at desc) - held as later
        from moments
    ),
    latest as (
        select claim, min(occurred_at) as since from later where later < 40 group by claim
    ),
    recent as (
        select claims.claim, claims.fact, events.item_id
        from claims
        inner join latest on claims.claim = latest.claim
        inner join events
            on
                events.person = claims.person and events.occurred_at < claims.seen_at
                and events.occurred_at >= latest.since
    )
"""


def _share(belongs: str) -> str:
    return _query(
        f"""
            {_WINDOW},
            counted as (
                select
                    recent.claim,
                    count(*) as found_of,
                    count(*) filter (where {belongs}) as found
                from recent
                inner join items on recent.item_id = items.item_id
                group by recent.claim
            ),
            checked as (
                select claims.claim, claims.fact, counted.found_of, counted.found, shown.*
                from claims
                left join counted on claims.claim = counted.claim
                left join (select item_id as shown_id, category, labels from items) as shown
                    on shown.shown_id = claims.item_id
            )
        """,
        "checked",
        {
            "another number of latest events": "found_of is distinct from (fact ->> 'of')::integer",
            "another count among them": "found is distinct from (fact ->> 'count')::integer",
            "the item is not of that group": (
                "not coalesce(category = (fact ->> 'category'), list_contains(labels, fact ->> 'label'))"
            ),
        },
        {"too few to say so": "found < 3"},
    )


INTEREST = _query(
    f"""
        {_WINDOW},
        named as (select claim, title, unnest(cast(fact -> 'item_ids' as varchar[])) as item_id from claims),
        checked as (
            select
                named.claim,
                bool_and(named.item_id in (select item_id from recent where recent.claim = named.claim)) as latest,
                bool_or(lower(items.title) = lower(named.title)) as itself
            from named
            left join items on named.item_id = items.item_id
            group by named.claim
        )
    """,
    "checked",
    {"what it names is not among the latest": "not latest"},
    {"it names its own title": "itself"},
)

POPULAR = _query(
    """
        found as (
            select events.item_id, count(distinct events.person) as people
            from events
            where
                events.occurred_at < getvariable('state_at')
                and events.occurred_at >= getvariable('state_at') - interval 28 day
            group by events.item_id
        ),
        checked as (
            select claims.claim, claims.fact, found.people
            from claims
            left join found on claims.item_id = found.item_id
        )
    """,
    "checked",
    {
        "another number of people": "people is distinct from (fact ->> 'users_28d')::integer",
        "another last day": (
            "((getvariable('state_at') - interval 1 second) at time zone 'UTC' at time zone getvariable('zone'))::date"
            " is distinct from (fact ->> 'until')::date"
        ),
    },
)

PROMOTED = _query(
    """
        running as (
            select distinct item_id, place from placed_promotions
            where starts_at <= getvariable('state_at') and ends_at > getvariable('state_at')
        ),
        places as (select count(distinct place) as places from running),
        found as (
            select running.item_id, count(*) / any_value(places.places) as reach
            from running
            cross join places
            group by running.item_id
        ),
        checked as (
            select claims.claim, claims.fact, found.reach
            from claims
            left join found on claims.item_id = found.item_id
        )
    """,
    "checked",
    {"another share of places": "abs(reach - (fact ->> 'reach')::double) > 0.0006"},
)

# Of the 90 days before the model's fit: how many of those with an attribute in common took the item.
ALIKE = _query(
    """
        active as (
            select distinct person, item_id from events
            where
                occurred_at < getvariable('fitted_until')
                and occurred_at >= getvariable('fitted_until') - interval 90 day
        ),
        alike as (
            select distinct claims.claim, claims.item_id, theirs.name, theirs.person
            from claims
            inner join attributes as own on claims.person = own.person
            inner join attributes as theirs on own.name = theirs.name and own.value = theirs.value
            where theirs.person in (select person from active)
        ),
        shares as (
            select alike.claim, alike.name, count(active.person) / count(*) as share
            from alike
            left join active on alike.person = active.person and alike.item_id = active.item_id
            group by alike.claim, alike.name
        ),
        checked as (
            select claims.claim, avg(shares.share) as share
            from claims
            left join shares on claims.claim = shares.claim
            group by claims.claim
        )
    """,
    "checked",
    {"fewer than one in thirty": "share < 0.03"},
    {"fewer than one in twenty-five": "share < 0.04"},
)

CLAIMS = {
    "chosen_before": CHOSEN_BEFORE,
    "similar_to_chosen": SIMILAR,
    "same_kind": SAME_KIND,
    "favourite_category": _share("items.category = (recent.fact ->> 'category')"),
    "favourite_label": _share("list_contains(items.labels, recent.fact ->> 'label')"),
    "interest": INTEREST,
    "people_alike": ALIKE,
    "popular_now": POPULAR,
    "on_promotion": PROMOTED,
}

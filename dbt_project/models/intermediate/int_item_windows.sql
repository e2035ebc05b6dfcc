{{ config(
    materialized="incremental",
    incremental_strategy="append",
    event_time="feature_at",
    pre_hook=["{{ make_way('feature_at') }}", "{{ first_part() }}"],
    post_hook="{{ other_parts() }}"
) }}
-- A feature is one line here, and a description in the YAML of item_activity: see macro sliding_windows. A return is a
-- day on which a user takes the item again.
{% set features = [
    {"name": "events_7d", "days": 7, "total": "sum(events)"},
    {"name": "events_28d", "days": 28, "total": "sum(events)"},
    {"name": "events_90d", "days": 90, "total": "sum(events)"},
    {
        "name": "users_28d", "days": 28,
        "total": distinct_gained("user_id", 28), "leaves": distinct_lost("user_id", 28)
    },
    {
        "name": "users_90d", "days": 90,
        "total": distinct_gained("user_id", 90), "leaves": distinct_lost("user_id", 90)
    },
    {"name": "events", "total": "sum(events)"},
    {"name": "users", "total": "count(*) filter (where nth_day = 1)"},
    {"name": "purchases_28d", "days": 28, "total": "sum(purchases)"},
    {"name": "discounted_purchases_28d", "days": 28, "total": "sum(discounted_purchases)"},
    {"name": "pieces_28d", "days": 28, "total": "sum(pieces)", "type": "decimal(18, 6)"},
    {"name": "cents_28d", "days": 28, "total": "100 * sum(amount)", "type": "bigint"},
    {"name": "takers", "total": "count(*) filter (where nth_taken_day = 1)"},
    {"name": "repeat_takers", "total": "count(*) filter (where nth_taken_day = 2)"},
    {"name": "returns", "total": "count(*) filter (where nth_taken_day > 1)"},
    {"name": "gap_days", "total": "coalesce(sum(day - previous_taken_day) filter (where nth_taken_day > 1), 0)"},
    {
        "name": "returned_14d", "days": 14,
        "total": "count(*) filter (where nth_taken_day = 2 or nth_taken_day > 2 and day - previous_taken_day > 14)",
        "leaves": "count(*) filter (where nth_taken_day > 1 and (next_taken_day is null or next_taken_day - day > 14))"
    },
    {"name": "promoted", "latest": "null::double"},
    {"name": "first_event_at", "first": "min(first_event_at)"},
    {"name": "last_event_at", "latest": "max(last_event_at)"},
] %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}
    where {{ in_part("item_id") }} and {{ moves_windows("day", 90) }}

),

promotions as (

    select * from {{ ref('contract_promotions') }}
    where {{ in_part("item_id") }} and {{ moves_windows("ends_at", 0) }}

),

-- Where no promotion follows at once, the end of one is a change too.
promotion_weeks as (

    select
        item_id,
        starts_at as feature_at,
        reach as promoted
    from promotions

    union all

    select
        promotions.item_id,
        promotions.ends_at as feature_at,
        0 as promoted
    from promotions
    left join promotions as following
        on promotions.item_id = following.item_id and promotions.ends_at = following.starts_at
    where following.item_id is null and promotions.ends_at <= {{ as_of() }}

),

promotion_changes as (

    select * from promotion_weeks
    qualify promoted != lag(promoted, 1, 0) over (partition by item_id order by feature_at)

),

-- One that began before an increment holds at its opening: nothing is known of an item that was not sold until then.
promotion_midnights as (

    select
        item_id,
        {{ "greatest(feature_at, " ~ opened_at() ~ ")" if is_incremental() else "feature_at" }} as feature_at,
        arg_max(promoted, promotion_changes.feature_at)::double as promoted
    from promotion_changes
    group by all

),

{{ sliding_windows("item_id", "item_days", features, beside="promotion_midnights") }}

select * from history
where
    feature_at > first_event_at -- an item's history begins with its first event
    {%- if is_incremental() %}
    and feature_at > {{ opened_at() }}
    {%- endif %}

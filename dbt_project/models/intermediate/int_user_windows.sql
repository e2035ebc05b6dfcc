{{ config(
    materialized="incremental",
    incremental_strategy="append",
    event_time="feature_at",
    pre_hook=["{{ make_way('feature_at') }}", "{{ first_part() }}"],
    post_hook="{{ other_parts() }}"
) }}
-- A feature is one line here, and a description in the YAML of user_activity: see macro sliding_windows.
{% set features = [
    {"name": "events_7d", "days": 7, "total": "sum(events)"},
    {"name": "events_28d", "days": 28, "total": "sum(events)"},
    {"name": "events_90d", "days": 90, "total": "sum(events)"},
    {"name": "baskets_7d", "days": 7, "total": "count(basket_id)"},
    {"name": "baskets_28d", "days": 28, "total": "count(basket_id)"},
    {"name": "baskets_90d", "days": 90, "total": "count(basket_id)"},
    {"name": "taken_90d", "days": 90, "total": "sum(taken)"},
    {"name": "purchases_28d", "days": 28, "total": "sum(purchases)"},
    {"name": "cents_28d", "days": 28, "total": "coalesce(100 * sum(amount), 0)", "type": "bigint"},
    {
        "name": "distinct_items_28d", "days": 28,
        "total": distinct_gained("item_id", 28), "leaves": distinct_lost("item_id", 28)
    },
    {"name": "last_event_at", "latest": "max(last_event_at)"},
] %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}
    where {{ in_part("user_id") }} and {{ moves_windows("day", 90) }}

),

interactions as (

    select
        user_id,
        coalesce(basket_id, event_id) as basket_id,
        occurred_at
    from {{ ref('interactions') }}
    where {{ is_taken() }} and {{ in_part("user_id") }}

),

-- A basket belongs to the day on which it began.
baskets as (

    select
        user_id,
        basket_id,
        min(occurred_at)::date as day
    from interactions
    {%- if is_incremental() %}
    where (interactions.user_id, interactions.basket_id) in (
        select (recent.user_id, recent.basket_id)
        from interactions as recent
        where {{ moves_windows("recent.occurred_at", 90) }}
    )
    {%- endif %}
    group by user_id, basket_id

),

taken as (

    select * from item_days
    union all by name
    select * from baskets

),

{{ sliding_windows("user_id", "taken", features) }}

select * from history
{%- if is_incremental() %}
where feature_at > {{ opened_at() }}
{%- endif %}

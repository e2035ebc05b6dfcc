{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["feature_at > (select since - interval 1 day from increment.current)"]
) }}
-- Windows by gains and losses, as in user_activity. A promotion week is one more thing that changes at a midnight.
{% set windows = [7, 28, 90] %}
{# A promotion counts from the midnight on which it begins, so the rows of the midnight `since` are written again. #}
{% if is_incremental() %}{% set opened_at = since() ~ " - interval 1 day" %}{% endif %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}

),

promotions as (

    select * from {{ ref('contract_promotions') }}
    {%- if opened_at %}
    where ends_at >= {{ opened_at }}
    {%- endif %}

),

days as (

    select
        item_id,
        {{ opened_day("day", opened_at, windows[-1]) }} as day,
        sum(events) as events,
        sum(quantity)::integer as quantity,
        sum(amount) as amount,
        sum(discounted_events) as discounted_events,
        {%- for window in [28, 90] %}
        count(*) filter (where previous_day is null or day - previous_day > {{ window }}) as users_gained_{{ window }}d,
        count(*) filter (where next_day is null or next_day - day > {{ window }}) as users_lost_{{ window }}d,
        {%- endfor %}
        count(*) filter (where nth_day = 1) as buyers,
        count(*) filter (where nth_day = 2) as repeat_buyers,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at
    from item_days
    group by all

),

changes as (

    select
        item_id,
        (day + 1)::timestamp as feature_at,
        events as events_7d,
        events as events_28d,
        events as events_90d,
        users_gained_28d as users_28d,
        users_gained_90d as users_90d,
        quantity as quantity_28d,
        amount as amount_28d,
        discounted_events as discounted_events_28d,
        buyers,
        repeat_buyers,
        last_event_at
    from days
    {%- for leaving in windows %}

    union all

    select
        item_id,
        (day + 1 + {{ leaving }})::timestamp as feature_at,
        {{ "-events" if leaving == 7 else 0 }} as events_7d,
        {{ "-events" if leaving == 28 else 0 }} as events_28d,
        {{ "-events" if leaving == 90 else 0 }} as events_90d,
        {{ "-users_lost_28d" if leaving == 28 else 0 }} as users_28d,
        {{ "-users_lost_90d" if leaving == 90 else 0 }} as users_90d,
        {{ "-quantity" if leaving == 28 else 0 }} as quantity_28d,
        {{ "-amount" if leaving == 28 else 0 }} as amount_28d,
        {{ "-discounted_events" if leaving == 28 else 0 }} as discounted_events_28d,
        0 as buyers,
        0 as repeat_buyers,
        null as last_event_at
    from days
    {%- endfor %}

),

midnights as (

    select
        item_id,
        {{ opened("feature_at", opened_at) }} as feature_at,
        sum(events_7d)::integer as events_7d,
        sum(events_28d)::integer as events_28d,
        sum(events_90d)::integer as events_90d,
        sum(users_28d)::integer as users_28d,
        sum(users_90d)::integer as users_90d,
        sum(quantity_28d)::integer as quantity_28d,
        (100 * sum(amount_28d))::integer as cents_28d,
        sum(discounted_events_28d)::integer as discounted_events_28d,
        sum(buyers)::integer as buyers,
        sum(repeat_buyers)::integer as repeat_buyers,
        max(last_event_at) as last_event_at
    from changes
    where feature_at <= {{ as_of() }}
    group by all

),

first_events as (

    select
        item_id,
        min(first_event_at) as first_event_at
    from days
    group by item_id

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

    select
        promotion_weeks.item_id,
        promotion_weeks.feature_at,
        promotion_weeks.promoted
    from promotion_weeks
    qualify promoted != lag(promoted, 1, 0) over (partition by item_id order by feature_at)

),

promotion_midnights as (

    select
        item_id,
        {{ opened("feature_at", opened_at) }} as feature_at,
        arg_max(promoted, promotion_changes.feature_at) as promoted
    from promotion_changes
    group by all

),

merged as (

    select
        coalesce(midnights.item_id, promotion_midnights.item_id) as item_id,
        coalesce(midnights.feature_at, promotion_midnights.feature_at) as feature_at,
        midnights.* exclude (item_id, feature_at),
        promotion_midnights.promoted
    from midnights
    full join promotion_midnights
        on
            midnights.item_id = promotion_midnights.item_id
            and midnights.feature_at = promotion_midnights.feature_at

),

history as (

    select
        item_id,
        feature_at,
        sum(events_7d) over past as events_7d,
        sum(events_28d) over past as events_28d,
        sum(events_90d) over past as events_90d,
        sum(users_28d) over past as users_28d,
        sum(users_90d) over past as users_90d,
        sum(quantity_28d) over past as quantity_28d,
        sum(cents_28d) over past as cents_28d,
        sum(discounted_events_28d) over past as discounted_events_28d,
        sum(buyers) over past as buyers,
        sum(repeat_buyers) over past as repeat_buyers,
        last_value(promoted ignore nulls) over past as promoted,
        last_value(last_event_at ignore nulls) over past as last_event_at
    from merged
    window past as (partition by item_id order by feature_at rows unbounded preceding)

)

select
    -- ids
    history.item_id,

    -- features
    history.events_7d::integer as events_7d,
    history.events_28d::integer as events_28d,
    history.events_90d::integer as events_90d,
    history.users_28d::integer as users_28d,
    history.users_90d::integer as users_90d,
    history.cents_28d / 100 / nullif(history.quantity_28d, 0) as mean_price_28d,
    history.discounted_events_28d / nullif(history.events_28d, 0) as discount_share_28d,
    coalesce(history.promoted, 0)::double as promoted,
    history.repeat_buyers / history.buyers as repeat_rate,

    -- timestamps
    first_events.first_event_at,
    history.last_event_at,
    history.feature_at
from history
inner join first_events on history.item_id = first_events.item_id
where
    history.feature_at > first_events.first_event_at -- an item's history begins with its first event
    {%- if opened_at %}
    and history.feature_at > {{ opened_at }}
    {%- endif %}

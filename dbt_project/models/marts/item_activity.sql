{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["feature_at > increment.since() - interval 1 day"]
) }}
-- Windows by gains and losses, as in user_activity. A promotion week is one more thing that changes at a midnight.
{% set windows = [7, 28, 90] %}
{# A promotion counts from the midnight on which it begins, so the rows of the midnight `since` are written again. #}
{% if is_incremental() %}{% set opened_at = "(increment.since() - interval 1 day)" %}{% endif %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}
    where {{ in_part("item_id") }}

),

promotions as (

    select * from {{ ref('contract_promotions') }}
    where
        {{ in_part("item_id") }}
        {%- if opened_at %}
        and ends_at >= {{ opened_at }}
        {%- endif %}

),

days as (

    select
        item_id,
        day,
        sum(events)::integer as events,
        sum(quantity)::integer as quantity,
        (100 * sum(amount))::bigint as cents,
        sum(discounted_events)::integer as discounted_events,
        {%- for window in [28, 90] %}
        count(*) filter (
            where previous_day is null or day - previous_day > {{ window }}
        )::integer as users_gained_{{ window }}d,
        count(*) filter (where next_day is null or next_day - day > {{ window }})::integer as users_lost_{{ window }}d,
        {%- endfor %}
        count(*) filter (where nth_day = 1)::integer as users,
        count(*) filter (where nth_day = 2)::integer as repeat_users,
        -- a return is a day on which a user comes back to the item
        count(*) filter (where nth_day > 1)::integer as returns,
        coalesce(sum(day - previous_day), 0)::integer as gap_days,
        count(*) filter (
            where nth_day = 2 or nth_day > 2 and day - previous_day > 14
        )::integer as returned_gained_14d,
        count(*) filter (
            where nth_day > 1 and (next_day is null or next_day - day > 14)
        )::integer as returned_lost_14d,
        max(last_event_at) as last_event_at
    from item_days
    {%- if opened_at %}
    where {{ moves_after("day", opened_at, windows[-1]) }}
    {%- endif %}
    group by item_id, day

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
        cents as cents_28d,
        discounted_events as discounted_events_28d,
        events,
        users,
        repeat_users,
        returns,
        gap_days,
        returned_gained_14d as returned_14d,
        last_event_at
    from days
    {%- for leaving in [7, 14, 28, 90] %}

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
        {{ "-cents" if leaving == 28 else 0 }} as cents_28d,
        {{ "-discounted_events" if leaving == 28 else 0 }} as discounted_events_28d,
        0 as events,
        0 as users,
        0 as repeat_users,
        0 as returns,
        0 as gap_days,
        {{ "-returned_lost_14d" if leaving == 14 else 0 }} as returned_14d,
        null as last_event_at
    from days
    {%- if leaving == 14 %}
    where returned_lost_14d > 0
    {%- endif %}
    {%- endfor %}

),

{% if opened_at -%}
ever as (

    select
        item_id,
        sum(events)::integer as events,
        count(*) filter (where nth_day = 1)::integer as users,
        count(*) filter (where nth_day = 2)::integer as repeat_users,
        count(*) filter (where nth_day > 1)::integer as returns,
        coalesce(sum(day - previous_day), 0)::integer as gap_days,
        -- a window counts a user on the last day that it holds of the user
        count(*) filter (
            where day >= {{ opened_at }}::date - 28 and (next_day is null or next_day >= {{ opened_at }})
        )::integer as users_28d,
        count(*) filter (
            where day >= {{ opened_at }}::date - 90 and (next_day is null or next_day >= {{ opened_at }})
        )::integer as users_90d,
        count(*) filter (
            where day >= {{ opened_at }}::date - 14 and nth_day > 1 and coalesce(next_day >= {{ opened_at }}, true)
        )::integer as returned_14d,
        if(count(amount) > 0, 0, null) as no_cents,
        max(last_event_at) as last_event_at
    from item_days
    where day < {{ opened_at }}
    group by item_id

),

-- What the windows held at the moment from which on the history is written.
opening as (

    select
        ever.item_id,
        {{ opened_at }} as feature_at,
        {%- for window in windows %}
        coalesce(
            sum(days.events) filter (where days.day >= {{ opened_at }}::date - {{ window }}), 0
        )::integer as events_{{ window }}d,
        {%- endfor %}
        any_value(ever.users_28d) as users_28d,
        any_value(ever.users_90d) as users_90d,
        coalesce(sum(days.quantity) filter (where days.day >= {{ opened_at }}::date - 28), 0)::integer as quantity_28d,
        coalesce(
            sum(days.cents) filter (where days.day >= {{ opened_at }}::date - 28), any_value(ever.no_cents)
        )::bigint as cents_28d,
        coalesce(
            sum(days.discounted_events) filter (where days.day >= {{ opened_at }}::date - 28), 0
        )::integer as discounted_events_28d,
        any_value(ever.events) as events,
        any_value(ever.users) as users,
        any_value(ever.repeat_users) as repeat_users,
        any_value(ever.returns) as returns,
        any_value(ever.gap_days) as gap_days,
        any_value(ever.returned_14d) as returned_14d,
        any_value(ever.last_event_at) as last_event_at
    from ever
    left join days on ever.item_id = days.item_id and days.day < {{ opened_at }}
    group by ever.item_id

),

{% endif -%}
midnights as (

    select
        item_id,
        feature_at,
        {%- for window in windows %}
        sum(events_{{ window }}d)::integer as events_{{ window }}d,
        {%- endfor %}
        sum(users_28d)::integer as users_28d,
        sum(users_90d)::integer as users_90d,
        sum(quantity_28d)::integer as quantity_28d,
        sum(cents_28d)::bigint as cents_28d,
        sum(discounted_events_28d)::integer as discounted_events_28d,
        sum(events)::integer as events,
        sum(users)::integer as users,
        sum(repeat_users)::integer as repeat_users,
        sum(returns)::integer as returns,
        sum(gap_days)::integer as gap_days,
        sum(returned_14d)::integer as returned_14d,
        max(last_event_at) as last_event_at
    from changes
    where
        feature_at <= {{ as_of() }}
        {%- if opened_at %}
        and feature_at > {{ opened_at }}
        {%- endif %}
    group by item_id, feature_at
    {%- if opened_at %}

    union all by name

    select * from opening
    {%- endif %}

),

first_events as (

    select
        item_id,
        min(first_event_at) as first_event_at
    from item_days
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
        {{ "greatest(feature_at, " ~ opened_at ~ ")" if opened_at else "feature_at" }} as feature_at,
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
        sum(events) over past as events,
        sum(users) over past as users,
        sum(repeat_users) over past as repeat_users,
        sum(returns) over past as returns,
        sum(gap_days) over past as gap_days,
        sum(returned_14d) over past as returned_14d,
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
    history.events::integer as events,
    history.users::integer as users,
    history.cents_28d / 100 / nullif(history.quantity_28d, 0) as mean_price_28d,
    history.discounted_events_28d / nullif(history.events_28d, 0) as discount_share_28d,
    coalesce(history.promoted, 0)::double as promoted,
    history.repeat_users / history.users as repeat_rate,
    history.gap_days / nullif(history.returns, 0) as gap_days,
    -- smoothed towards 1 in 20: of an item that few had, a single return says little
    (history.returned_14d + 0.5) / (history.users + 10) as rebuy_rate_14d,

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

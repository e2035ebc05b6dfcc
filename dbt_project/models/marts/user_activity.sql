{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["feature_at > (select since from increment.current)"]
) }}
-- A window that slides over midnights changes only where an event enters it or leaves it. So each daily total is
-- written twice per window, as a gain and, that many days later, as a loss; running sums give the windows exactly.
{% set windows = [7, 28, 90] %}
{% if is_incremental() %}{% set opened_at = since() %}{% endif %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}

),

baskets as (

    select
        user_id,
        min(occurred_at)::date as day
    from {{ ref('interactions') }}
    group by user_id, coalesce(basket_id, event_id)

),

days as (

    select
        user_id,
        {{ opened_day("day", opened_at, windows[-1]) }} as day,
        sum(events) as events,
        sum(amount) as amount,
        0 as baskets,
        -- an item counts as new in the window only when it was not bought in the 28 days before,
        -- and is lost only when it is not bought again in time
        count(*) filter (where previous_day is null or day - previous_day > 28) as items_gained,
        count(*) filter (where next_day is null or next_day - day > 28) as items_lost,
        max(last_event_at) as last_event_at
    from item_days
    group by all

    union all

    select
        user_id,
        {{ opened_day("day", opened_at, windows[-1]) }} as day,
        0 as events,
        0 as amount,
        count(*) as baskets,
        0 as items_gained,
        0 as items_lost,
        null as last_event_at
    from baskets
    group by all

),

changes as (

    select
        user_id,
        (day + 1)::timestamp as feature_at,
        {%- for window in windows %}
        events as events_{{ window }}d,
        baskets as baskets_{{ window }}d,
        {%- endfor %}
        amount as amount_28d,
        items_gained as distinct_items_28d,
        last_event_at
    from days
    {%- for leaving in windows %}

    union all

    select
        user_id,
        (day + 1 + {{ leaving }})::timestamp as feature_at,
        {%- for window in windows %}
        {{ "-events" if window == leaving else 0 }} as events_{{ window }}d,
        {{ "-baskets" if window == leaving else 0 }} as baskets_{{ window }}d,
        {%- endfor %}
        {{ "-amount" if leaving == 28 else 0 }} as amount_28d,
        {{ "-items_lost" if leaving == 28 else 0 }} as distinct_items_28d,
        null as last_event_at
    from days
    {%- endfor %}

),

midnights as (

    select
        user_id,
        {{ opened("feature_at", opened_at) }} as feature_at,
        {%- for window in windows %}
        sum(events_{{ window }}d)::integer as events_{{ window }}d,
        sum(baskets_{{ window }}d)::integer as baskets_{{ window }}d,
        {%- endfor %}
        (100 * sum(amount_28d))::integer as cents_28d,
        sum(distinct_items_28d)::integer as distinct_items_28d,
        max(last_event_at) as last_event_at
    from changes
    where feature_at <= {{ as_of() }}
    group by all

),

history as (

    select
        user_id,
        feature_at,
        {%- for window in windows %}
        sum(events_{{ window }}d) over past as events_{{ window }}d,
        sum(baskets_{{ window }}d) over past as baskets_{{ window }}d,
        {%- endfor %}
        sum(cents_28d) over past as cents_28d,
        sum(distinct_items_28d) over past as distinct_items_28d,
        last_value(last_event_at ignore nulls) over past as last_event_at
    from midnights
    window past as (partition by user_id order by feature_at rows unbounded preceding)

)

select
    -- ids
    user_id,

    -- features
    {%- for window in windows %}
    events_{{ window }}d::integer as events_{{ window }}d,
    {%- endfor %}
    {%- for window in windows %}
    baskets_{{ window }}d::integer as baskets_{{ window }}d,
    {%- endfor %}
    cents_28d / 100 as amount_28d,
    distinct_items_28d::integer as distinct_items_28d,
    events_90d / nullif(baskets_90d, 0) as mean_basket_size_90d,

    -- timestamps
    last_event_at,
    feature_at
from history
{%- if opened_at %}
where feature_at > {{ opened_at }}
{%- endif %}

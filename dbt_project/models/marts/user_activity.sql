{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["feature_at > increment.since()"]
) }}
-- A window that slides over midnights changes only where an event enters it or leaves it. So each daily total is
-- written twice per window, as a gain and, that many days later, as a loss; running sums give the windows exactly.
{% set windows = [7, 28, 90] %}
{% if is_incremental() %}{% set opened_at = "increment.since()" %}{% endif %}
with item_days as (

    select * from {{ ref('int_user_item_days') }}
    where
        {{ in_part("user_id") }}
        {%- if opened_at %}
        and {{ moves_after("day", opened_at, windows[-1]) }}
        {%- endif %}

),

interactions as (

    select
        user_id,
        coalesce(basket_id, event_id) as basket_id,
        occurred_at
    from {{ ref('interactions') }}
    where {{ in_part("user_id") }}

),

baskets as (

    select
        user_id,
        min(occurred_at)::date as day
    from interactions
    {%- if opened_at %}
    where (interactions.user_id, interactions.basket_id) in (
        select (recent.user_id, recent.basket_id)
        from interactions as recent
        where {{ moves_after("recent.occurred_at", opened_at, windows[-1]) }}
    )
    {%- endif %}
    group by user_id, basket_id

),

basket_days as (

    select
        user_id,
        day,
        count(*)::integer as baskets
    from baskets
    group by user_id, day

),

user_days as (

    select
        user_id,
        day,
        sum(events)::integer as events,
        coalesce(100 * sum(amount), 0)::bigint as cents,
        -- an item counts as new in the window only when it was not bought in the 28 days before,
        -- and is lost only when it is not bought again in time
        count(*) filter (where previous_day is null or day - previous_day > 28)::integer as items_gained,
        count(*) filter (where next_day is null or next_day - day > 28)::integer as items_lost,
        max(last_event_at) as last_event_at
    from item_days
    group by user_id, day

),

days as (

    select
        user_days.*,
        coalesce(basket_days.baskets, 0) as baskets
    from user_days
    left join basket_days on user_days.user_id = basket_days.user_id and user_days.day = basket_days.day

),

changes as (

    select
        user_id,
        (day + 1)::timestamp as feature_at,
        {%- for window in windows %}
        events as events_{{ window }}d,
        baskets as baskets_{{ window }}d,
        {%- endfor %}
        cents as cents_28d,
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
        {{ "-cents" if leaving == 28 else 0 }} as cents_28d,
        {{ "-items_lost" if leaving == 28 else 0 }} as distinct_items_28d,
        null as last_event_at
    from days
    {%- endfor %}

),

midnights as (

    select
        user_id,
        feature_at,
        {%- for window in windows %}
        sum(events_{{ window }}d)::integer as events_{{ window }}d,
        sum(baskets_{{ window }}d)::integer as baskets_{{ window }}d,
        {%- endfor %}
        sum(cents_28d)::bigint as cents_28d,
        sum(distinct_items_28d)::integer as distinct_items_28d,
        max(last_event_at) as last_event_at
    from changes
    where
        feature_at <= {{ as_of() }}
        {%- if opened_at %}
        and feature_at > {{ opened_at }}
        {%- endif %}
    group by user_id, feature_at
    {%- if opened_at %}

    union all

    select
        user_id,
        feature_at,
        {%- for window in windows %}
        events_{{ window }}d,
        baskets_{{ window }}d,
        {%- endfor %}
        round(100 * amount_28d)::bigint as cents_28d,
        distinct_items_28d,
        last_event_at
    from {{ this }}
    where feature_at <= {{ opened_at }}
    qualify row_number() over (partition by user_id order by feature_at desc) = 1
    {%- endif %}

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

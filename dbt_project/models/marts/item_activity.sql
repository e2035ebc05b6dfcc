{{ config(materialized="view", event_time="feature_at") }}
with windows as (

    select * from {{ ref('int_item_windows') }}

)

select
    * exclude (quantity_28d, cents_28d, discounted_events_28d, repeat_users, returns, returned_14d)
    replace (
        coalesce(promoted, 0) as promoted,
        gap_days / nullif(returns, 0) as gap_days
    ),
    cents_28d / 100 / nullif(quantity_28d, 0) as mean_price_28d,
    discounted_events_28d / nullif(events_28d, 0) as discount_share_28d,
    repeat_users / users as repeat_rate,
    -- smoothed towards 1 in 20: of an item that few had, a single return says little
    (returned_14d + 0.5) / (users + 10) as rebuy_rate_14d
from windows

{{ config(materialized="view", event_time="feature_at") }}
with windows as (

    select * from {{ ref('int_item_windows') }}

)

select
    * exclude (
        purchases_28d, discounted_purchases_28d, pieces_28d, cents_28d, takers, repeat_takers, returns, returned_14d
    )
    replace (
        coalesce(promoted, 0) as promoted,
        gap_days / nullif(returns, 0) as gap_days
    ),
    cents_28d / 100 / nullif(pieces_28d, 0)::double as mean_price_28d,
    discounted_purchases_28d / nullif(purchases_28d, 0) as discount_share_28d,
    repeat_takers / nullif(takers, 0) as repeat_rate,
    -- smoothed towards 1 in 20: of an item that few had, a single return says little
    (returned_14d + 0.5) / (takers + 10) as rebuy_rate_14d
from windows

{{ config(materialized="view", event_time="feature_at") }}
with windows as (

    select * from {{ ref('int_user_windows') }}

)

select
    * exclude (cents_28d, taken_90d),
    cents_28d / 100 as amount_28d,
    taken_90d / nullif(baskets_90d, 0) as mean_basket_size_90d
from windows

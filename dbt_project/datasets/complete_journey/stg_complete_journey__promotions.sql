with weeks as (

    select * from {{ ref('base_complete_journey__promotion_weeks') }}

)

select
    -- ids
    item_id,

    -- facts
    promoted as reach,

    -- timestamps
    week_starts_at as starts_at,
    week_starts_at + interval 7 day as ends_at
from weeks

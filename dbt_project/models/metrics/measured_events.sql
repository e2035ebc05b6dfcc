with interactions as (

    select * from {{ ref('interactions') }}

)

select
    -- ids
    event_id,
    user_id,
    item_id,
    if({{ is_taken() }}, coalesce(basket_id, event_id), null) as basket_id,

    -- facts
    event_type,
    if(event_type = 'purchase', amount, null) as amount,

    -- timestamps
    occurred_at
from interactions

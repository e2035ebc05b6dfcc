with events as (

    select * from {{ ref('int_events') }}
    where fate = 'kept'

)

select
    -- ids
    event_id,
    user_id,
    item_id,

    -- facts
    event_type,
    value,
    amount::double as amount,
    basket_id,

    -- timestamps
    occurred_at,
    source
from events

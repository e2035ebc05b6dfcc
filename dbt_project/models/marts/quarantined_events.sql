with events as (

    select * from {{ ref('int_events') }}
    where fate = 'quarantined'

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
    rejected_because,

    -- timestamps
    occurred_at,
    source
from events

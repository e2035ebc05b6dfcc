with staged as (

    select * from {{ staged('offers') }}

)

select
    -- ids
    user_id,
    offer_id,
    item_id,
    category,

    -- timestamps
    starts_at,
    ends_at
from staged
where starts_at < {{ as_of() }}

with staged as (

    select * from {{ staged('promotions') }}

)

select
    -- ids
    item_id,

    -- facts
    reach,

    -- timestamps
    starts_at,
    ends_at
from staged
where starts_at < {{ as_of() }}

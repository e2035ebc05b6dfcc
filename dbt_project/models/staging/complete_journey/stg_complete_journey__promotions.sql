with source as (

    select * from {{ source('complete_journey', 'promotions') }}

)

select
    -- ids
    product_id::varchar as item_id,
    store_id::varchar as store_id,

    -- facts
    display_location,
    mailer_location,

    -- timestamps
    day::timestamp as week_starts_at
from source

with source as (

    select * from {{ source('complete_journey', 'products') }}

)

select
    -- ids
    product_id::varchar as item_id,
    manufacturer_id::varchar as manufacturer_id,

    -- attributes
    department,
    brand,
    product_category as category,
    product_type,
    package_size
from source

with staged as (

    select * from {{ staged('items') }}

)

select
    -- ids
    item_id,

    -- texts
    title,
    description,
    document,

    -- attributes
    category_path,
    department,
    category,
    brand,
    price,
    attributes,
    image_url,
    available,
    {{ item_excluded_because() }} as excluded_because,

    -- timestamps
    valid_from
from staged

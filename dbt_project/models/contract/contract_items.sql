-- A staging model without labels need not name the column.
with staged as (

    select * from {{ staged('items') }}

    union all by name

    select null::varchar[] as labels
    where false

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
    labels,
    brand,
    price,
    attributes,
    image_url,
    available,
    {{ item_excluded_because() }} as excluded_because,

    -- timestamps
    valid_from
from staged

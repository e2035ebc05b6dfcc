{{ config(materialized="view") }}
with versions as (

    select * from {{ ref('int_item_history') }}
    where valid_from <= {{ as_of() }}

)

select
    -- ids
    item_id,

    -- texts
    title,
    description,

    -- attributes
    category_path,
    department,
    category,
    labels,
    brand,
    price,
    attributes,
    available and excluded_because is null as available,
    document,

    -- timestamps
    valid_from,
    lead(valid_from) over (partition by item_id order by valid_from) as valid_to
from versions

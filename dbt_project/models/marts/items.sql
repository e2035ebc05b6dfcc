with items as (

    select * from {{ ref('int_items') }}

),

interactions as (

    select * from {{ ref('interactions') }}

),

prices as (

    select
        item_id,
        median(amount / value) as price
    from interactions
    where occurred_at >= {{ as_of() }} - interval 90 day
    group by item_id

)

select
    -- ids
    items.item_id,

    -- texts
    items.title,
    items.description,

    -- attributes
    items.category_path,
    items.department,
    items.category,
    items.brand,
    coalesce(round(prices.price, 2), items.price) as price,
    items.attributes,
    items.image_url,
    items.available and items.excluded_because is null as available,
    items.document,

    -- timestamps
    items.valid_from
from items
left join prices on items.item_id = prices.item_id

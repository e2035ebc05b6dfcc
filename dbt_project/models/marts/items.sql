with items as (

    select * from {{ ref('int_items') }}

),

interactions as (

    select * from {{ ref('interactions') }}

),

-- The median without its aggregate, which holds every value and does not spill: of each item's different prices, those
-- in the middle of its events.
different_prices as (

    select
        item_id,
        amount / value as price,
        count(*) as events
    from interactions
    where event_type = 'purchase' and amount is not null and occurred_at >= {{ as_of() }} - interval 90 day
    group by all

),

counted as (

    select
        *,
        sum(events) over (partition by item_id order by price rows unbounded preceding) as events_up_to,
        sum(events) over (partition by item_id) as events_of_item
    from different_prices

),

prices as (

    select
        item_id,
        avg(price) as price
    from counted
    where 2 * events_up_to >= events_of_item and 2 * (events_up_to - events) <= events_of_item
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
    items.labels,
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

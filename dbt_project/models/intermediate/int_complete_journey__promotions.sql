-- In which share of the stores an item was on display or in the mailer, week by week.
with promotions as (

    select * from {{ ref('stg_complete_journey__promotions') }}
    where week_starts_at < {{ as_of() }}

),

stores as (

    select
        week_starts_at,
        count(distinct store_id) as stores
    from promotions
    group by week_starts_at

),

-- A store can promote an item in two ways in one week.
promoted as (

    select
        item_id,
        week_starts_at,
        count(distinct store_id) as promoting_stores
    from promotions
    group by item_id, week_starts_at

)

select
    promoted.item_id,
    promoted.week_starts_at,
    promoted.promoting_stores / stores.stores as promoted
from promoted
inner join stores on promoted.week_starts_at = stores.week_starts_at

-- Every landed event before as_of, with its fate: kept, quarantined or duplicate.
with events as (

    select * from {{ ref('stg_complete_journey__transactions') }}
    where occurred_at < {{ as_of() }}

),

items as (

    select
        item_id,
        excluded_because
    from {{ ref('int_complete_journey__items') }}

),

numbered as (

    select
        *,
        row_number() over (partition by event_id) as delivery
    from events

),

judged as (

    select
        numbered.*,
        case
            when items.item_id is null then 'item unknown'
            when items.excluded_because is not null then items.excluded_because
            when numbered.value <= 0 then 'quantity not positive'
        end as rejected_because
    from numbered
    left join items on numbered.item_id = items.item_id

)

select
    -- ids
    event_id,
    user_id,
    item_id,
    basket_id,

    -- facts
    event_type,
    value,
    greatest(sales_dollars - coupon_dollars, 0)::decimal(12, 2) as amount,
    discount_dollars > 0 as discounted,
    source,
    case
        when delivery > 1 then 'duplicate'
        when rejected_because is not null then 'quarantined'
        else 'kept'
    end as fate,
    rejected_because,

    -- timestamps
    occurred_at
from judged

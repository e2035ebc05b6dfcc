{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["occurred_at >= (select since from increment.current)"]
) }}
-- Every event before as_of once, with its fate and the number of times that it was delivered.
with landed as (

    select * from {{ ref('stg_complete_journey__transactions') }}
    where
        occurred_at < {{ as_of() }}
        {%- if is_incremental() %}
        and occurred_at >= {{ since() }}
        {%- endif %}

),

items as (

    select
        item_id,
        excluded_because
    from {{ ref('int_complete_journey__items') }}

),

-- Rows with one event_id are equal in every column.
events as (

    select
        event_id,
        any_value(user_id) as user_id,
        any_value(item_id) as item_id,
        any_value(basket_id) as basket_id,
        any_value(event_type) as event_type,
        any_value(value) as value,
        any_value(amount) as amount,
        any_value(discount) as discount,
        any_value(source) as source,
        any_value(occurred_at) as occurred_at,
        count(*) as deliveries
    from landed
    group by event_id

),

judged as (

    select
        events.*,
        case
            when items.item_id is null then 'item unknown'
            when items.excluded_because is not null then items.excluded_because
            when events.value <= 0 then 'quantity not positive'
        end as rejected_because
    from events
    left join items on events.item_id = items.item_id

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
    amount,
    discount,
    source,
    deliveries,
    if(rejected_because is null, 'kept', 'quarantined') as fate,
    rejected_because,

    -- timestamps
    occurred_at
from judged

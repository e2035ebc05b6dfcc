{{ config(event_time="occurred_at") }}
with staged as (

    select * from {{ staged('events') }}

    union all by name

    select * from {{ ref('stg_service__events') }}

)

select
    -- ids
    coalesce(
        event_id, {{ event_id(["user_id", "item_id", "event_type", "occurred_at", "value", "amount"]) }}
    ) as event_id,
    source_row,
    user_id,
    item_id,
    basket_id,
    session_id,

    -- facts
    event_type,
    value,
    amount,
    discount,
    query_text,
    source,
    unreadable,
    {{ event_excluded_because() }} as excluded_because,

    -- timestamps
    occurred_at,
    ingested_at
from staged

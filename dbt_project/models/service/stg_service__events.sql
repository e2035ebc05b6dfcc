{{ config(event_time="occurred_at") }}
with source as (

    select * from {{ source('service', 'posted_events') }}

)

select
    -- ids
    event_id,
    event_id as source_row,
    user_id,
    {{ clean('item_id') }} as item_id,
    basket_id,
    session_id,

    -- facts
    event_type,
    value,
    {{ money('amount') }} as amount,
    null::decimal(12, 2) as discount,
    query_text,
    source,
    {{ unreadable({'amount': ('amount', money('amount'))}) }} as unreadable,

    -- timestamps
    occurred_at at time zone 'UTC' as occurred_at,
    ingested_at at time zone 'UTC' as ingested_at
from source

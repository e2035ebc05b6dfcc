{{ config(
    materialized="incremental",
    incremental_strategy="append",
    event_time="occurred_at",
    pre_hook="{{ make_way('occurred_at') }}"
) }}
with events as (

    select * from {{ ref('int_events') }}
    where
        fate = 'quarantined'
        {%- if is_incremental() %}
        and occurred_at >= increment.since()
        {%- endif %}

)

select
    -- ids
    event_id,
    source_row,
    user_id,
    item_id,

    -- facts
    event_type,
    delivered_value as value,
    amount::double as amount,
    basket_id,
    rejected_because,

    -- timestamps
    occurred_at,
    date_trunc('day', greatest(occurred_at, ingested_at))::timestamp + interval 1 day as first_as_of,
    source
from events

{{ config(
    materialized="incremental",
    incremental_strategy="append",
    event_time="occurred_at",
    pre_hook="{{ make_way('occurred_at') }}"
) }}
with events as (

    select * from {{ ref('int_events') }}
    where
        fate = 'kept'
        {%- if is_incremental() %}
        and occurred_at >= increment.since()
        {%- endif %}

)

select
    -- ids
    event_id,
    user_id,
    item_id,

    -- facts
    event_type,
    value,
    amount::double as amount,
    basket_id,

    -- timestamps
    occurred_at,
    source
from events

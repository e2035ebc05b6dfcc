{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["occurred_at >= (select since from increment.current)"]
) }}
with events as (

    select * from {{ ref('int_events') }}
    where
        fate = 'kept'
        {%- if is_incremental() %}
        and occurred_at >= {{ since() }}
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

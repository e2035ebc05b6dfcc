{{ config(
    materialized="incremental",
    incremental_strategy="append",
    event_time="occurred_at",
    pre_hook="{{ make_way('occurred_at') }}"
) }}
-- Every event before as_of once, with its fate and the number of times that it was delivered.
with dated as (

    select * from {{ ref('contract_events') }}
    where
        occurred_at < {{ as_of() }}
        {%- if is_incremental() %}
        and occurred_at >= increment.since()
        {%- endif %}

),

-- What has no moment that can be read is set aside below.
dateless as (

    select * replace ({{ undated() }} as occurred_at) from {{ ref('contract_events') }}
    where occurred_at is null and {{ takes_undated() }}

),

landed as (

    select * from dated
    union all by name
    select * from dateless

),

items as (

    select
        item_id,
        excluded_because
    from {{ ref('int_items') }}

),

-- An event is known by its user and its id, so nobody's id hides another's event. Its latest delivery holds, and one of
-- the dataset's own log before what was posted to the service.
events as (

    select
        *,
        count(*) over (partition by user_id, event_id) as deliveries
    from landed
    qualify
        row_number() over (
            partition by user_id, event_id
            order by
                source is not distinct from 'service', ingested_at desc nulls last, value desc nulls last,
                amount desc nulls last
        ) = 1

),

with_fate as (

    select
        events.*,
        {{ rejected_because("events", "items") }} as rejected_because,
        if(rejected_because is null, {{ counted_share("events.value", "events.event_type") }}, 1) as counted_share
    from events
    left join items on events.item_id = items.item_id

)

select
    -- ids
    event_id,
    source_row,
    user_id,
    item_id,
    basket_id,

    -- facts
    event_type,
    coalesce(value, if(rejected_because is null, 1, null)) * counted_share as value,
    value as delivered_value,
    if(counted_share = 1, amount, amount * counted_share)::decimal(12, 2) as amount,
    discount,
    source,
    deliveries,
    if(rejected_because is null, 'kept', 'quarantined') as fate,
    rejected_because,

    -- timestamps
    occurred_at,
    ingested_at
from with_fate

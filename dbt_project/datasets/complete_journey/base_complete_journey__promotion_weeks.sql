-- In which share of the stores an item was on display or in the mailer, week by week. Only weeks whose landed file is
-- new or another one than last time are counted.
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='week_starts_at') }}
with landed as (

    select unnest(map_entries(files)) as entry
    from {{ source('complete_journey', 'promotions_landed') }}

),

weeks as (

    select
        regexp_extract(entry['key'], 'day=(.{10})', 1)::date as day,
        entry['value']['sha256'] as landed_sha256
    from landed

),

{% if is_incremental() %}
counted as (

    select distinct
        week_starts_at,
        landed_sha256
    from {{ this }}

),

{% endif %}
fresh as (

    select
        weeks.day,
        weeks.landed_sha256
    from weeks
    {% if is_incremental() %}
    left join counted
        on weeks.day = counted.week_starts_at and weeks.landed_sha256 = counted.landed_sha256
    where counted.landed_sha256 is null
    {% endif %}

),

promotions as (

    select
        promotions.product_id,
        promotions.store_id,
        promotions.day
    from {{ source('complete_journey', 'promotions') }} as promotions
    where promotions.day in (select fresh.day from fresh)

),

stores as (

    select
        day,
        count(distinct store_id) as stores
    from promotions
    group by day

),

-- A store can promote an item in two ways in one week.
promoted as (

    select
        product_id,
        day,
        count(distinct store_id) as promoting_stores
    from promotions
    group by product_id, day

)

select
    -- ids
    promoted.product_id::varchar as item_id,

    -- facts
    promoted.promoting_stores / stores.stores as promoted,
    fresh.landed_sha256,

    -- timestamps
    promoted.day::timestamp as week_starts_at
from promoted
inner join stores on promoted.day = stores.day
inner join fresh on promoted.day = fresh.day

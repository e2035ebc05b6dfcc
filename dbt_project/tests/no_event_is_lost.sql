-- Every landed event is kept, quarantined or a duplicate: the counts add up.
with counted as (

    select
        (
            select count(*) from {{ landed_events() }}
            where day < {{ as_of() }}
        ) as landed,
        (select count(*) from {{ ref('interactions') }}) as kept,
        (select count(*) from {{ ref('quarantined_events') }}) as quarantined,
        (select sum(deliveries - 1) from {{ ref('int_events') }}) as duplicates

)

select * from counted
where kept + quarantined + duplicates <> landed

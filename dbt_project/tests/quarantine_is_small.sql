-- A share above 5 % says that a source changed, not that some rows are bad. Each reason is listed with its share.
with reasons as (

    select
        rejected_because,
        count(*) as events,
        count(*) / sum(count(*)) over () as share
    from {{ ref('int_events') }}
    group by rejected_because

)

select * from reasons
qualify rejected_because is not null and sum(share) filter (where rejected_because is not null) over () > 0.05

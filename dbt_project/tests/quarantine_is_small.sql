-- A share above the limit shows that a source changed, rather than that single rows are bad. Searches without an item
-- do not count, nor does what the dataset excludes on purpose. Each reason is listed with its share and some of its rows
-- as the source names them.
with reasons as (

    select
        rejected_because,
        count(*) as events,
        count(*) / sum(count(*)) over () as share,
        min(source_row, 3) as source_rows
    from {{ ref('int_events') }}
    group by rejected_because

),

bad as (

    select * from reasons
    where rejected_because != 'search without an item' and not starts_with(rejected_because, 'excluded: ')

)

select
    *,
    {{ quarantine_limit() }} as allowed
from bad
qualify sum(share) over () > {{ quarantine_limit() }}
order by share desc

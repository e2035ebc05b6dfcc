-- A share above a limit shows that a source changed, rather than that single rows are bad. Searches without an item do
-- not count, nor does what the dataset excludes on purpose; what strangers posted to the service stops nothing. A day
-- counts when 50 of its events or more were set aside. Each reason has its share and some of its rows.
{% set recent = as_of() ~ " - interval 7 day" %}
with events as (

    select
        rejected_because,
        source_row,
        coalesce(
            rejected_because != 'search without an item' and not starts_with(rejected_because, 'excluded: '), false
        ) as is_bad,
        case when occurred_at >= {{ written_since(recent) }} then occurred_at::date end as day
    from {{ ref('int_events') }}
    where source is distinct from 'service'

),

scopes as (

    select
        'all days' as of_what,
        *,
        {{ quarantine_limit() }} as allowed
    from events

    union all

    select
        day::varchar as of_what,
        *,
        {{ quarantine_limit("quarantine_share_of_day", 0.2) }} as allowed
    from events
    where day is not null

),

reasons as (

    select
        of_what,
        rejected_because,
        allowed,
        is_bad,
        count(*) as events,
        min(source_row, 3) as source_rows
    from scopes
    group by of_what, rejected_because, allowed, is_bad

),

shares as (

    select
        *,
        events / sum(events) over (partition by of_what) as share
    from reasons

)

select
    of_what,
    rejected_because,
    events,
    share,
    source_rows,
    allowed
from shares
where is_bad
qualify
    sum(share) over (partition by of_what) > allowed
    and (of_what = 'all days' or sum(events) over (partition by of_what) >= 50)
order by of_what desc, share desc

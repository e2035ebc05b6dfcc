-- A share above a limit shows that a source changed, rather than that single rows are bad. Searches without an item do
-- not count, and what strangers posted to the service stops nothing. A day counts from 50 events set aside on. Each
-- reason is listed with its share and some of its rows as the source names them.
{% set recent = as_of() ~ " - interval 7 day" %}
with events as (

    select
        rejected_because,
        source_row,
        nullif(rejected_because, 'search without an item') is not null as is_bad,
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

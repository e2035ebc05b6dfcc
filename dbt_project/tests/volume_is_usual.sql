{{ config(severity="warn") }}
-- A day that was cut short, or did not come. What is usual is the median of the same weekday in the eight weeks before,
-- where at least four of them have events. It warns, because nothing may happen on some days.
with days as (

    select
        occurred_at::date as day,
        count(*) as events
    from {{ ref('int_events') }}
    where source is distinct from 'service' and occurred_at >= {{ as_of() }} - interval 63 day
    group by occurred_at::date

),

week as (

    select ({{ as_of() }} - unnest([1, 2, 3, 4, 5, 6, 7]) * interval 1 day)::date as day

),

compared as (

    select
        week.day,
        dayname(week.day) as weekday,
        coalesce(any_value(days.events), 0) as events,
        median(before.events) as usual,
        count(before.events) as weeks
    from week
    left join days on week.day = days.day
    left join days as before
        on week.day > before.day and week.day - 56 <= before.day and dayofweek(week.day) = dayofweek(before.day)
    group by week.day

)

select
    day,
    weekday,
    events,
    usual
from compared
where weeks >= 4 and usual >= 100 and events < 0.5 * usual
order by day

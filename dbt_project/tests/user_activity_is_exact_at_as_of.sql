-- At as_of the running sums of gains and losses equal a plain count over the last days.
with latest as (

    select * from {{ ref('user_activity') }}
    where (user_id, feature_at) in (
        select (history.user_id, max(history.feature_at))
        from {{ ref('user_activity') }} as history
        group by history.user_id
    )

),

recent as (

    select
        user_id,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 7 day) as events_7d,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 28 day) as events_28d,
        count(*) as events_90d,
        count(distinct item_id) filter (where occurred_at >= {{ as_of() }} - interval 28 day) as distinct_items_28d
    from {{ ref('interactions') }}
    where occurred_at >= {{ as_of() }} - interval 90 day
    group by user_id

),

counted as (

    select
        ever.user_id,
        coalesce(recent.events_7d, 0) as events_7d,
        coalesce(recent.events_28d, 0) as events_28d,
        coalesce(recent.events_90d, 0) as events_90d,
        coalesce(recent.distinct_items_28d, 0) as distinct_items_28d,
        ever.last_event_at
    from (
        select
            user_id,
            max(occurred_at) as last_event_at
        from {{ ref('interactions') }}
        group by user_id
    ) as ever
    left join recent on ever.user_id = recent.user_id

)

select
    counted.*,
    latest.*
from counted
full join latest on counted.user_id = latest.user_id
where
    (
        latest.events_7d, latest.events_28d, latest.events_90d, latest.distinct_items_28d, latest.last_event_at
    ) is distinct from (
        counted.events_7d, counted.events_28d, counted.events_90d, counted.distinct_items_28d, counted.last_event_at
    )

-- At as_of the running sums of gains and losses equal a plain count over the last days.
with latest as (

    select * from {{ ref('item_activity') }}
    where (item_id, feature_at) in (
        select (history.item_id, max(history.feature_at))
        from {{ ref('item_activity') }} as history
        group by history.item_id
    )

),

recent as (

    select
        item_id,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 7 day) as events_7d,
        count(*) as events_90d,
        count(distinct user_id) filter (where occurred_at >= {{ as_of() }} - interval 28 day) as users_28d,
        count(distinct user_id) as users_90d
    from {{ ref('interactions') }}
    where occurred_at >= {{ as_of() }} - interval 90 day
    group by item_id

),

counted as (

    select
        ever.item_id,
        coalesce(recent.events_7d, 0) as events_7d,
        coalesce(recent.events_90d, 0) as events_90d,
        coalesce(recent.users_28d, 0) as users_28d,
        coalesce(recent.users_90d, 0) as users_90d,
        ever.first_event_at,
        ever.last_event_at
    from (
        select
            item_id,
            min(occurred_at) as first_event_at,
            max(occurred_at) as last_event_at
        from {{ ref('interactions') }}
        group by item_id
    ) as ever
    left join recent on ever.item_id = recent.item_id

)

select
    counted.*,
    latest.*
from counted
full join latest on counted.item_id = latest.item_id
where
    (
        latest.events_7d, latest.events_90d, latest.users_28d, latest.users_90d, latest.first_event_at,
        latest.last_event_at
    ) is distinct from (
        counted.events_7d, counted.events_90d, counted.users_28d, counted.users_90d, counted.first_event_at,
        counted.last_event_at
    )

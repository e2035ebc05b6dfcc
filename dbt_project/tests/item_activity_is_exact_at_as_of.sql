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

taken_days as (

    select distinct
        item_id,
        user_id,
        occurred_at::date as day
    from {{ ref('interactions') }}
    where {{ is_taken() }}

),

pairs as (

    select
        item_id,
        user_id,
        min(day) as first_day,
        max(day) as last_day,
        count(*) as days
    from taken_days
    group by item_id, user_id

),

returns as (

    select
        item_id,
        count(*) as takers,
        sum(last_day - first_day) / nullif(sum(days - 1), 0) as gap_days,
        count(*) filter (
            where days > 1 and last_day >= {{ as_of() }} - interval 14 day
        ) as returned_14d
    from pairs
    group by item_id

),

counted as (

    select
        ever.item_id,
        coalesce(recent.events_7d, 0) as events_7d,
        coalesce(recent.events_90d, 0) as events_90d,
        coalesce(recent.users_28d, 0) as users_28d,
        coalesce(recent.users_90d, 0) as users_90d,
        ever.events,
        ever.users,
        returns.gap_days,
        (coalesce(returns.returned_14d, 0) + 0.5) / (coalesce(returns.takers, 0) + 10) as rebuy_rate_14d,
        ever.first_event_at,
        ever.last_event_at
    from (
        select
            item_id,
            count(*) as events,
            count(distinct user_id) as users,
            min(occurred_at) as first_event_at,
            max(occurred_at) as last_event_at
        from {{ ref('interactions') }}
        group by item_id
    ) as ever
    left join returns on ever.item_id = returns.item_id
    left join recent on ever.item_id = recent.item_id

)

select
    counted.*,
    latest.*
from counted
full join latest on counted.item_id = latest.item_id
where
    (
        latest.events_7d, latest.events_90d, latest.users_28d, latest.users_90d, latest.events, latest.users,
        round(latest.gap_days, 6), round(latest.rebuy_rate_14d, 6), latest.first_event_at, latest.last_event_at
    ) is distinct from (
        counted.events_7d, counted.events_90d, counted.users_28d, counted.users_90d, counted.events, counted.users,
        round(counted.gap_days, 6), round(counted.rebuy_rate_14d, 6), counted.first_event_at, counted.last_event_at
    )

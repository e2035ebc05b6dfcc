-- The running sums of gains and losses end where a plain count of the last days ends.
with latest as (

    select unnest(arg_max(history, feature_at))
    from {{ ref('user_activity') }} as history -- noqa: AL05
    group by user_id

),

counted as (

    select
        user_id,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 7 day) as events_7d,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 28 day) as events_28d,
        count(*) filter (where occurred_at >= {{ as_of() }} - interval 90 day) as events_90d,
        count(distinct item_id) filter (where occurred_at >= {{ as_of() }} - interval 28 day) as distinct_items_28d,
        max(occurred_at) as last_event_at
    from {{ ref('interactions') }}
    group by user_id

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

-- The states of a moment start from those at `starts_from`, which the last build holds (macros/snapshots.sql). They may
-- differ from these where the user has an event since then, or has or had one before it that is new, changed or gone:
-- such events happened since increment.since(). Midnights all, so that days tell it.
with snapshots as (

    select
        feature_at,
        starts_from,
        if(starts_from is null, '-infinity', least(starts_from, increment.since()))::timestamp as differs_since
    from increment.snapshots

),

interactions as (

    select
        user_id,
        occurred_at
    from {{ ref('interactions') }}

),

active_days as (

    select distinct
        user_id,
        occurred_at::date as day
    from interactions
    where occurred_at >= (select min(snapshots.differs_since) from snapshots)

)

select
    active_days.user_id,
    snapshots.feature_at
from active_days
inner join snapshots on active_days.day >= snapshots.differs_since and active_days.day < snapshots.feature_at

union

select
    users_before.user_id,
    snapshots.feature_at
from increment.users_before
inner join snapshots on users_before.first_at < snapshots.starts_from

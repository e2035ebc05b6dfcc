-- An offer is a gain at the midnight on which it begins and a loss at the one on which it ends: running sums count
-- those that are open.
with offers as (

    select * from {{ ref('contract_offers') }}

),

users as (

    select user_id from {{ ref('users') }}

),

changes as (

    select
        user_id,
        starts_at as feature_at,
        1 as opened
    from offers

    union all

    select
        user_id,
        ends_at as feature_at,
        -1 as opened
    from offers
    where ends_at <= {{ as_of() }}

),

midnights as (

    select
        changes.user_id,
        date_trunc('day', changes.feature_at)::timestamp as feature_at,
        sum(changes.opened) as opened
    from changes
    inner join users on changes.user_id = users.user_id
    group by all

)

select
    -- ids
    user_id,

    -- features
    (sum(opened) over (partition by user_id order by feature_at rows unbounded preceding))::integer as open_offers,

    -- timestamps
    feature_at
from midnights

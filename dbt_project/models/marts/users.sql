with interactions as (

    select * from {{ ref('interactions') }}

),

known as (

    select * from {{ ref('contract_users') }}

),

seen as (

    select
        user_id,
        date_trunc('day', min(occurred_at))::timestamp as valid_from
    from interactions
    group by user_id

)

select
    -- ids
    seen.user_id,

    -- attributes
    known.age_band,
    known.gender,
    known.region,
    known.income_band,
    known.occupation,
    known.household_size,
    known.kids_count,
    known.home_ownership,
    known.marital_status,
    known.attributes,

    -- timestamps
    coalesce(known.valid_from, seen.valid_from) as valid_from
from seen
left join known on seen.user_id = known.user_id

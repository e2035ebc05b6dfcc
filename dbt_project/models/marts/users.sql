with interactions as (

    select * from {{ ref('interactions') }}

),

demographics as (

    select * from {{ ref('stg_complete_journey__demographics') }}

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
    demographics.age_band,
    demographics.income_band,
    demographics.household_size,
    nullif(demographics.kids_count, 'Unknown') as kids_count,
    demographics.home_ownership,
    demographics.marital_status,

    -- timestamps
    seen.valid_from
from seen
left join demographics on seen.user_id = demographics.user_id

with source as (

    select * from {{ source('complete_journey', 'demographics') }}

)

select
    -- ids
    pseudonym(household_id::varchar) as user_id,

    -- attributes
    age as age_band,
    income as income_band,
    household_size,
    kids_count,
    home_ownership,
    marital_status
from source

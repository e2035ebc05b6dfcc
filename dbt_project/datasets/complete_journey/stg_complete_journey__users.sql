with source as (

    select * from {{ source('complete_journey', 'demographics') }}

)

select
    -- ids
    pseudonym(household_id::varchar) as user_id,

    -- attributes
    age as age_band,
    null::varchar as gender,
    null::varchar as region,
    income as income_band,
    null::varchar as occupation,
    household_size,
    nullif(kids_count, 'Unknown') as kids_count,
    home_ownership,
    marital_status,
    json_object('household_comp', household_comp)::varchar as attributes,

    -- timestamps
    null::timestamp as valid_from -- undated: true from the first day of the data
from source

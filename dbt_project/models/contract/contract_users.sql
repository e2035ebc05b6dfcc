with staged as (

    select * from {{ staged('users') }}

)

select
    -- ids
    user_id,

    -- attributes
    age_band,
    gender,
    region,
    income_band,
    occupation,
    household_size,
    kids_count,
    home_ownership,
    marital_status,
    attributes,

    -- timestamps
    valid_from
from staged

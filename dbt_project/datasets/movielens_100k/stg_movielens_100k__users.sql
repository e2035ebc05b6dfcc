with source as (

    select * from {{ source('movielens_100k', 'people') }}

)

select
    -- ids
    pseudonym("user_id:token") as user_id,

    -- attributes
    {{ age_band('try_cast("age:token" as integer)') }} as age_band,
    "gender:token" as gender,
    if(regexp_full_match("zip_code:token", '\d{5}'), 'US ' || "zip_code:token"[1], 'other') as region,
    null::varchar as income_band,
    nullif("occupation:token", 'none') as occupation,
    null::varchar as household_size,
    null::varchar as kids_count,
    null::varchar as home_ownership,
    null::varchar as marital_status,
    null::varchar as attributes,

    -- timestamps
    null::timestamp as valid_from -- undated: true from the first day of the data
from source

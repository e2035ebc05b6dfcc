{{ config(materialized="view") }}
with versions as (

    select * from {{ ref('user_history') }}

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
from versions
where valid_to is null

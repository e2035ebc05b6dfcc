with interactions as (

    select * from {{ ref('interactions') }}

),

known as (

    select * from {{ ref('int_user_history') }}
    where valid_from <= {{ as_of() }}

),

seen as (

    select
        user_id,
        date_trunc('day', min(occurred_at))::timestamp as valid_from
    from interactions
    group by user_id

),

versions as (

    select
        coalesce(seen.user_id, known.user_id) as user_id,
        known.* exclude (user_id), -- noqa: RF02
        lead(known.valid_from) over (
            partition by coalesce(seen.user_id, known.user_id) order by known.valid_from
        ) as valid_to,
        seen.valid_from as seen_from
    from seen
    full join known on seen.user_id = known.user_id

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

    -- timestamps: what the source does not date holds from the first interaction on, or from the run that met it
    coalesce(
        nullif(valid_from, {{ undated() }}), least(seen_from, valid_to - interval 1 day), recorded_at
    ) as valid_from,
    valid_to
from versions

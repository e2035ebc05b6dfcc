{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["(
        recorded_at = (select as_of from increment.current)
        or user_id not in (select known.user_id from contract_users as known where known.user_id is not null)
    )"],
    unique_key=["user_id", "valid_from"],
    full_refresh=false,
    on_schema_change="sync_all_columns"
) }}
-- What is known of users, as each run met it: see int_item_history. A user who is delivered no more is forgotten,
-- earlier versions too.
{% set attributes = [
    "age_band", "gender", "region", "income_band", "occupation", "household_size", "kids_count", "home_ownership",
    "marital_status", "attributes"
] %}
with known as ( -- noqa: ST03

    select * replace (coalesce(valid_from, {{ undated() }}) as valid_from)
    from {{ ref('contract_users') }}

),

{% if is_incremental() and takes_in() %}
earlier as (

    select * from {{ this }}
    where recorded_at < {{ as_of() }}
    qualify row_number() over (partition by user_id order by valid_from desc) = 1

),

versions as (

    select
        known.* replace (
            case
                when earlier.user_id is null or known.valid_from > earlier.valid_from then known.valid_from
                else greatest({{ as_of() }}, earlier.valid_from)
            end as valid_from
        ),
        {{ as_of() }} as recorded_at
    from known
    left join earlier on known.user_id = earlier.user_id
    where
        earlier.user_id is null
        {%- for attribute in attributes %}
        or known.{{ attribute }} is distinct from earlier.{{ attribute }}
        {%- endfor %}

)

{% elif is_incremental() %}
versions as (

    select * from {{ this }}
    where recorded_at = {{ as_of() }}

)

{% else %}
versions as (

    select
        *,
        {{ as_of() }} as recorded_at
    from known

)

{% endif %}
select
    -- ids
    user_id,

    -- attributes
    {%- for attribute in attributes %}
    {{ attribute }},
    {%- endfor %}

    -- timestamps
    valid_from,
    recorded_at
from versions

{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key=["user_id", "valid_from"],
    event_time="recorded_at",
    pre_hook="{{ record_again() }}",
    post_hook="{{ forget_undelivered('user_id') }}",
    full_refresh=false,
    on_schema_change="sync_all_columns"
) }}
-- The attributes of users as of each run: see int_item_history. A user who is no longer delivered is deleted with all
-- earlier versions.
{% set attributes = [
    "age_band", "gender", "region", "income_band", "occupation", "household_size", "kids_count", "home_ownership",
    "marital_status", "attributes"
] %}
with delivered as ( -- noqa: ST03

    select * replace (coalesce(valid_from, {{ undated() }}) as valid_from)
    from {{ ref('contract_users') }}

),

{{ versions_of("user_id", attributes) }}

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

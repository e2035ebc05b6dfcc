{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key=["item_id", "valid_from"],
    event_time="recorded_at",
    pre_hook="{{ record_again() }}",
    full_refresh=false,
    on_schema_change="sync_all_columns"
) }}
-- The catalogue as of each run, compared with the run before. The lake has only the latest catalogue, so a full
-- refresh keeps this table: see the macro versions_of.
{% set attributes = [
    "title", "description", "document", "category_path", "department", "category", "labels", "brand", "price", "attributes",
    "image_url", "available", "excluded_because"
] %}
with delivered as ( -- noqa: ST03

    select * from {{ ref('contract_items') }}

),

{{ versions_of("item_id", attributes, withdrawal=true) }}

select
    -- ids
    item_id,

    -- attributes
    {%- for attribute in attributes %}
    {{ attribute }},
    {%- endfor %}

    -- timestamps
    valid_from,
    recorded_at
from versions

{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["recorded_at = (select as_of from increment.current)"],
    unique_key=["item_id", "valid_from"],
    full_refresh=false,
    on_schema_change="sync_all_columns"
) }}
-- The catalogue as of each run, compared with the run before. The lake has only the latest catalogue, so a full
-- refresh keeps this table: see the macro versions_of.
{% set attributes = [
    "title", "description", "document", "category_path", "department", "category", "brand", "price", "attributes",
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

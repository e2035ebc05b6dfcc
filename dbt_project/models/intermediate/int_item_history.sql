{{ config(
    materialized="incremental",
    incremental_strategy="replace",
    incremental_predicates=["recorded_at = (select as_of from increment.current)"],
    unique_key=["item_id", "valid_from"],
    full_refresh=false,
    on_schema_change="sync_all_columns"
) }}
-- The catalogue as each run met it, compared with the run before. What was true is not in the lake any more, so a full
-- refresh keeps this table. A first version holds from when the source says, a later one from the run that met it or,
-- where the source dates it later than the last one, from then.
{% set attributes = [
    "title", "description", "document", "category_path", "department", "category", "brand", "price", "attributes",
    "image_url", "available", "excluded_because"
] %}
with catalogue as ( -- noqa: ST03

    select * from {{ ref('contract_items') }}

),

{% if is_incremental() and takes_in() %}
earlier as (

    select * from {{ this }}
    where recorded_at < {{ as_of() }}
    qualify row_number() over (partition by item_id order by valid_from desc) = 1

),

delivered as (

    select
        catalogue.* replace (
            case
                when earlier.item_id is null or catalogue.valid_from > earlier.valid_from then catalogue.valid_from
                else greatest({{ as_of() }}, earlier.valid_from)
            end as valid_from
        )
    from catalogue
    left join earlier on catalogue.item_id = earlier.item_id
    where
        earlier.item_id is null
        {%- for attribute in attributes %}
        or catalogue.{{ attribute }} is distinct from earlier.{{ attribute }}
        {%- endfor %}

),

withdrawn as (

    select * exclude (recorded_at) replace (false as available, greatest({{ as_of() }}, valid_from) as valid_from)
    from earlier
    where available and item_id not in (select catalogue.item_id from catalogue)

),

versions as (

    select
        *,
        {{ as_of() }} as recorded_at
    from delivered

    union all by name

    select
        *,
        {{ as_of() }} as recorded_at
    from withdrawn

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
    from catalogue

)

{% endif %}
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

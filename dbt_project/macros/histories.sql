{# The CTE `versions` of a history: what is `delivered` (with its valid_from), compared with the recorded versions.

   A first version is valid from the date of the source, a later one from its run or, where the source dates it later
   than the version before, from that date. With `withdrawal` a key that is no longer delivered gets a last version that
   is not `available`. A run without a new delivery keeps the recorded versions. #}
{% macro versions_of(key, attributes, withdrawal=false) %}
{%- if is_incremental() and takes_in() -%}
-- An attribute that the table does not have yet was null.
earlier as (

    select *
    from (
        select * from {{ this }}
        union all by name
        select * from delivered
        where false
    ) as recorded
    where recorded_at < {{ as_of() }}
    qualify row_number() over (partition by {{ key }} order by valid_from desc) = 1

),

versions as (

    select
        delivered.* replace (
            case
                when earlier.{{ key }} is null or delivered.valid_from > earlier.valid_from then delivered.valid_from
                else greatest({{ as_of() }}, earlier.valid_from)
            end as valid_from
        ),
        {{ as_of() }} as recorded_at
    from delivered
    left join earlier on delivered.{{ key }} = earlier.{{ key }}
    where
        earlier.{{ key }} is null
        {%- for attribute in attributes %}
        or delivered.{{ attribute }} is distinct from earlier.{{ attribute }}
        {%- endfor %}
    {%- if withdrawal %}

    union all by name

    select
        * replace (
            false as available, greatest({{ as_of() }}, valid_from) as valid_from, {{ as_of() }} as recorded_at
        )
    from earlier
    where available and {{ key }} not in (select delivered.{{ key }} from delivered)
    {%- endif %}

)
{%- elif is_incremental() -%}
versions as (

    select * from {{ this }}
    where false

)
{%- else -%}
versions as (

    select
        *,
        {{ as_of() }} as recorded_at
    from delivered

)
{%- endif -%}
{% endmacro %}

{# Pre-hook of a history: the versions that an earlier run of this day recorded make way for those of this run. #}
{% macro record_again() -%}
    {%- if is_incremental() and takes_in() -%}
    delete from {{ this }} where recorded_at = {{ as_of() }}
    {%- endif -%}
{%- endmacro %}

{# Post-hook of a history: of a key that is no longer delivered nothing is kept. #}
{% macro forget_undelivered(key) -%}
    {%- if is_incremental() -%}
    delete from {{ this }}
    where {{ key }} not in (select delivered.{{ key }} from {{ ref('contract_users') }} as delivered where {{ key }} is not null)
    {%- endif -%}
{%- endmacro %}

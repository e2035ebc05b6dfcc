{# The CTE `versions` of a history: what is `delivered` (with its valid_from), compared with what was known before.

   A first version holds from when the source says, a later one from the run that met it or, where the source dates it
   later than the last one, from then. A key that is delivered no more gets a last version that is not `available`, where
   `withdrawal` asks for it. A run that takes nothing in keeps what it recorded before. #}
{% macro versions_of(key, attributes, withdrawal=false) %}
{%- if is_incremental() and takes_in() -%}
earlier as (

    select * from {{ this }}
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
    where recorded_at = {{ as_of() }}

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

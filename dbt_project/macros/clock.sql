{# The end of the run's data interval, YYYY-MM-DD. It comes by the environment (or by --vars) and is read only when a
   run executes: a var or an environment variable that changes daily would make dbt parse the whole project daily. #}
{% macro as_of_date() -%}
    {%- if execute -%}{{ var("as_of", none) or env_var("ZHIYIN_AS_OF") }}{%- endif -%}
{%- endmacro %}

{% macro as_of() -%}
    timestamp '{{ as_of_date() }}'
{%- endmacro %}

{# The moments at which user states are taken, oldest first, each a midnight as YYYY-MM-DD; none while dbt parses. `Clock`
   (zhiyin/clock.py) says which they are, and they come by the environment as as_of does: 2017-11-13,2017-11-17,… #}
{% macro snapshot_moments() -%}
    {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
    {%- do return(var("snapshots", none) or env_var("ZHIYIN_SNAPSHOTS").split(",")) -%}
{%- endmacro %}

{# They, as a list of timestamps. #}
{% macro snapshots() -%}
    {%- if execute -%}
        [{% for moment in snapshot_moments() %}timestamp '{{ moment }}'{{ ", " if not loop.last }}{% endfor %}]
    {%- endif -%}
{%- endmacro %}

{# The latest row before as_of, moved so that its age by the wall clock is its age at as_of. #}
{% macro loaded_at(moment) -%}
    select max({{ moment }})::timestamp + (current_timestamp::timestamp - {{ as_of() }})
    from {{ this }}
    where {{ moment }} < {{ as_of() }}
{%- endmacro %}

{# The end of the run's data interval, YYYY-MM-DD. It comes by the environment (or by --vars) and is read only when a
   run executes: a var or an environment variable that changes daily would make dbt parse the whole project daily. #}
{% macro as_of_date() -%}
    {%- if execute -%}{{ var("as_of", none) or env_var("ZHIYIN_AS_OF") }}{%- endif -%}
{%- endmacro %}

{% macro as_of() -%}
    timestamp '{{ as_of_date() }}'
{%- endmacro %}

{% macro label_days() -%}
    {%- if execute -%}{{ var("label_days", none) or env_var("ZHIYIN_LABEL_DAYS", "14") }}{%- endif -%}
{%- endmacro %}

{% macro ranking_windows() -%}
    {%- if execute -%}{{ var("ranking_windows", none) or env_var("ZHIYIN_RANKING_WINDOWS") }}{%- endif -%}
{%- endmacro %}

{# The moments at which user states are taken, oldest first: as_of, and the starts of the label window on which models are
   judged and of those on which the ranker learns; none while dbt parses. #}
{% macro snapshot_moments() -%}
    {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
    {%- set end = modules.datetime.datetime.fromisoformat(as_of_date()) -%}
    {%- set label = modules.datetime.timedelta(days=label_days() | int) -%}
    {%- set moments = [] -%}
    {%- for number in range(ranking_windows() | int + 1, -1, -1) -%}
        {%- do moments.append(end - number * label) -%}
    {%- endfor -%}
    {%- do return(var("snapshots", none) or moments) -%}
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

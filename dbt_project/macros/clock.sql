{# The end of the run's data interval. #}
{% macro as_of() -%}
    timestamp '{{ var("as_of") }}'
{%- endmacro %}

{# The moments at which user states are taken, as a list of timestamps. #}
{% macro snapshots() -%}
    {%- set moments = var("snapshots") -%}
    {%- if not moments -%}
        {%- set end = modules.datetime.datetime.fromisoformat(var("as_of")) -%}
        {%- set label = modules.datetime.timedelta(days=var("label_days") | int) -%}
        {%- set moments = [end - 2 * label, end - label, end] -%}
    {%- endif -%}
    [{% for moment in moments %}timestamp '{{ moment }}'{{ ", " if not loop.last }}{% endfor %}]
{%- endmacro %}

{# The latest row before as_of, moved so that its age by the wall clock is its age at as_of. #}
{% macro loaded_at(moment) -%}
    select max({{ moment }})::timestamp + (current_timestamp::timestamp - {{ as_of() }})
    from {{ this }}
    where {{ moment }} < {{ as_of() }}
{%- endmacro %}

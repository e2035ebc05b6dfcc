{# Every row keeps every rule, and the columns of `grain` together name one row and are not null. A rule that gives null
   is broken; in a rule `as_of` is the moment of the run. A broken one of `rules` fails the build, one of `warnings` is
   told and no more. A row of the answer names what is broken, counts the rows that break it, and has the `query` that
   shows some of them (zhiyin/warehouse/failures.py runs it). One query for all: a further test costs dbt more than a
   further rule costs DuckDB. #}
{% test holds(model, rules=[], warnings=[], grain=[]) %}
{# A broken rule weighs 1,000, so that no number of broken warnings is taken for one. #}
{{ config(fail_calc="coalesce(sum(if(fails, 1000, 1)), 0)", warn_if="> 0", error_if=">= 1000") }}
{%- set checked = [] -%}
{%- for rule in rules + warnings -%}
    {%- do checked.append((rule, loop.index <= rules | length)) -%}
{%- endfor -%}
{%- for column in grain -%}{%- do checked.append((column ~ " is not null", true)) -%}{%- endfor -%}
{%- set dated = "(select *, " ~ as_of() ~ " as as_of from " ~ model ~ ")" -%}
{%- set columns = grain | join(", ") -%}
{%- set twice = "from " ~ model ~ " group by " ~ columns ~ " having count(*) > 1" -%}
with counted as (

    select
        {%- for rule, _ in checked %}
        count(*) filter (where ({{ rule }}) is not true) as rule_{{ loop.index }},
        {%- endfor %}
        {{ "(select count(*) from (select 1 " ~ twice ~ "))" if grain else 0 }} as grain
    from {{ dated }} as dated

),

answers as (

    select
        unnest([
            {%- for rule, fails in checked %}
            {
                'rule': {{ quoted(rule) }}, 'broken_rows': rule_{{ loop.index }}, 'fails': {{ fails | lower }},
                'query': {{ quoted("from " ~ dated ~ " where (" ~ rule ~ ") is not true") }}
            },
            {%- endfor %}
            {
                'rule': {{ quoted("one row per " ~ columns) }}, 'broken_rows': grain, 'fails': true,
                'query': {{ quoted("select " ~ (columns or 1) ~ ", count(*) as rows " ~ twice) }}
            }
        ], max_depth := 2)
    from counted

)

select * from answers
where broken_rows > 0
{% endtest %}

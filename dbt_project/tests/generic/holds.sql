{# Every row keeps every rule, and the columns of `grain` together name one row and are not null. A rule that gives null
   is broken; in a rule `as_of` is the moment of the run. A row of the answer names what is broken and counts the rows
   that break it. One query for all, because a test costs dbt more than a query costs DuckDB. #}
{% test holds(model, rules=[], grain=none) %}
{%- set counts = ["count(*) as rows_in_all"] -%}
{%- set named = [] -%}
{%- for column in grain or [] -%}{%- do named.append(column ~ " is not null") -%}{%- endfor -%}
{%- for rule in rules + named -%}
    {%- do counts.append("count(*) filter (where (" ~ rule ~ ") is not true) as \"" ~ rule ~ "\"") -%}
{%- endfor -%}
with broken as (

    select {{ counts | join(", ") }}
    from (select *, {{ as_of() }} as as_of from {{ model }}) as dated

),

answers as (

    select
        rule,
        broken_rows
    from (unpivot broken on columns(* exclude rows_in_all) into name rule value broken_rows) as rules
    {%- if grain %}

    union all

    select
        'one row per {{ grain | join(", ") }}' as rule,
        count(*) as broken_rows
    from (select 1 from {{ model }} group by {{ grain | join(", ") }} having count(*) > 1) as repeated
    {%- endif %}

)

select * from answers
where broken_rows > 0
{% endtest %}

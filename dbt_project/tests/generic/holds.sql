{# Every row keeps every rule, and the columns of `grain` together name one row and are not null. A rule that gives null
   is broken; in a rule `as_of` is the moment of the run. A row of the answer names what is broken and counts the rows
   that break it. One query for all: a further test costs dbt more than a further rule costs DuckDB. #}
{% test holds(model, rules=[], grain=[]) %}
{%- set counts, checked = ["count(*) as rows_in_all"], rules | list -%}
{%- for column in grain -%}{%- do checked.append(column ~ " is not null") -%}{%- endfor -%}
{%- for rule in checked -%}
    {%- do counts.append("count(*) filter (where (" ~ rule ~ ") is not true) as \"" ~ rule ~ "\"") -%}
{%- endfor -%}
{%- if grain -%}
    {%- set columns = grain | join(", ") -%}
    {%- do counts.append(
        "(select count(*) from (select 1 from " ~ model ~ " group by " ~ columns ~ " having count(*) > 1))"
        ~ " as \"one row per " ~ columns ~ "\""
    ) -%}
{%- endif -%}
with broken as (

    select {{ counts | join(", ") }}
    from (select *, {{ as_of() }} as as_of from {{ model }}) as dated

)

select * from (unpivot broken on columns(* exclude rows_in_all) into name rule value broken_rows) as rules
where broken_rows > 0
{% endtest %}

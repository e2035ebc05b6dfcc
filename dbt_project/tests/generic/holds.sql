{# Every row keeps every rule; a rule that gives null is broken. In a rule `as_of` is the moment of the run. One scan
   checks all; a row of the answer names a broken rule and counts the rows that break it. #}
{% test holds(model, rules) %}
{%- set counts = ["count(*) as rows_in_all"] -%}
{%- for rule in rules -%}
    {%- do counts.append("count(*) filter (where (" ~ rule ~ ") is not true) as \"" ~ rule ~ "\"") -%}
{%- endfor -%}
with broken as (

    select {{ counts | join(", ") }}
    from (select *, {{ as_of() }} as as_of from {{ model }}) as dated

)

select * from (unpivot broken on columns(* exclude rows_in_all) into name rule value broken_rows) as rules
where broken_rows > 0
{% endtest %}

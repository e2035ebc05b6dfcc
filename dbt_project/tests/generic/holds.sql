{# Every row keeps every rule, and the columns of `grain` together name one row and are not null. A rule that gives null
   is broken; in a rule `as_of` is the moment of the run. A broken one of `rules` fails the build, one of `warnings` is
   told and no more. A row of the answer names what is broken, counts the rows that break it, and has the `query` that
   shows some of them (zhiyin/warehouse/failures.py runs it). One query for all: a further test costs dbt more than a
   further rule costs DuckDB. #}
{% test holds(model, rules=[], warnings=[], grain=[]) %}
{# A broken rule weighs 1,000, so that no number of broken warnings is taken for one. #}
{{ config(fail_calc="coalesce(sum(if(fails, 1000, 1)), 0)", warn_if="> 0", error_if=">= 1000") }}
{%- set dated = "(select *, " ~ as_of() ~ " as as_of from " ~ model ~ ")" -%}
{%- set columns = grain | join(", ") -%}
{%- set twice = "from " ~ model ~ " group by " ~ (columns or 1) ~ " having count(*) > 1" -%}
{%- set checked, counts, answers = [], [], [] -%}
{%- for rule in rules -%}{%- do checked.append((rule, true)) -%}{%- endfor -%}
{%- for rule in warnings -%}{%- do checked.append((rule, false)) -%}{%- endfor -%}
{%- for column in grain -%}{%- do checked.append((column ~ " is not null", true)) -%}{%- endfor -%}
{%- for rule, fails in checked -%}
    {%- do counts.append("count(*) filter (where (" ~ rule ~ ") is not true) as rule_" ~ loop.index) -%}
    {%- do answers.append(rule_answer(rule, "rule_" ~ loop.index, fails, "from " ~ dated ~ " where (" ~ rule ~ ") is not true")) -%}
{%- endfor -%}
{%- if grain -%}
    {%- do counts.append("(select count(*) from (select 1 " ~ twice ~ ")) as grain") -%}
    {%- do answers.append(rule_answer("one row per " ~ columns, "grain", true, "select " ~ columns ~ ", count(*) as rows " ~ twice)) -%}
{%- endif -%}
with counted as (

    select {{ counts | join(", ") }}
    from {{ dated }} as dated

),

answers as (

    select unnest([{{ answers | join(", ") }}], max_depth := 2)
    from counted

)

select * from answers
where broken_rows > 0
{% endtest %}

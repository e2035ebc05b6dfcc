{# What the test `holds` answers of a rule, as a struct. #}
{% macro rule_answer(rule, broken_rows, fails, query) -%}
    {
        'rule': {{ quoted(rule) }}, 'broken_rows': {{ broken_rows }}, 'fails': {{ fails | lower }},
        'query': {{ quoted(query) }}
    }
{%- endmacro %}

{# A text as a literal of SQL. #}
{% macro quoted(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

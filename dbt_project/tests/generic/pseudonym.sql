{# Every value is a pseudonym, 32 hexadecimal digits; null passes. #}
{% test pseudonym(model, column_name) %}
with users as (select distinct {{ column_name }} from {{ model }})

select * from users
where not regexp_full_match({{ column_name }}, '[0-9a-f]{32}')
{% endtest %}

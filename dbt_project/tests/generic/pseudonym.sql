{# Every value is a pseudonym: 32 hexadecimal digits. #}
{% test pseudonym(model, column_name) %}
with users as (select distinct {{ column_name }} from {{ model }})

select * from users
where {{ column_name }} is null or not regexp_full_match({{ column_name }}, '[0-9a-f]{32}')
{% endtest %}

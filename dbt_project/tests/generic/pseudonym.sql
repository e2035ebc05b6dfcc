{# Every value is a pseudonym: 32 hexadecimal digits. #}
{% test pseudonym(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} is null or not regexp_full_match({{ column_name }}, '[0-9a-f]{32}')
{% endtest %}

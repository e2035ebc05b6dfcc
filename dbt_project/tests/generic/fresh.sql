{# The latest moment before as_of is at most this many days before as_of. #}
{% test fresh(model, column_name, days) %}
{{ config(where="true") }}
select max({{ column_name }}) as latest
from {{ model }}
where {{ column_name }} < {{ as_of() }}
having coalesce(max({{ column_name }}) < {{ as_of() }} - interval {{ days }} day, true)
{% endtest %}

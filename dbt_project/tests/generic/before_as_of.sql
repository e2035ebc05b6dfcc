{# No row of the future: the moment lies before as_of, or at it where the column says from when a row is true. #}
{% test before_as_of(model, column_name, or_at=false) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} {{ ">" if or_at else ">=" }} {{ as_of() }}
{% endtest %}

{# A number lies in [lowest, highest]; either may be another column; null passes. #}
{% test within(model, column_name, lowest=none, highest=none) %}
select {{ column_name }}
from {{ model }}
where
    {{ column_name }} < {{ column_name if lowest is none else lowest }}
    or {{ column_name }} > {{ column_name if highest is none else highest }}
{% endtest %}

{# Parallel arrays: in each row all have one length. #}
{% test same_length(model, columns) %}
select *
from {{ model }}
where len({{ columns | join(") is distinct from len(" ~ columns[0] ~ ") or len(") }}) is distinct from len({{ columns[0] }})
{% endtest %}

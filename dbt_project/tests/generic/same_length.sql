{# Parallel arrays: in each row all have one length. #}
{% test same_length(model, columns) %}
select *
from {{ model }}
where false
    {%- for column in columns[1:] %}
    or len({{ column }}) is distinct from len({{ columns[0] }})
    {%- endfor %}
{% endtest %}

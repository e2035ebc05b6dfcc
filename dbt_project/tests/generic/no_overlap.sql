{# Times of one key do not overlap, and each ends after it starts. #}
{% test no_overlap(model, key) %}
select *
from {{ model }}
qualify starts_at >= ends_at or ends_at > lead(starts_at) over (partition by {{ key }} order by starts_at)
{% endtest %}

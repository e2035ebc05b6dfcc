{# Days that leave a window after `opened_at`, when an increment of a history of gains and losses begins; the longest
   window has `days` days. What the windows held at that moment opens the running sums: see user_activity. #}
{% macro moves_after(day, opened_at, days) -%}
    {{ day }} >= {{ opened_at }}::date - {{ days }}
{%- endmacro %}

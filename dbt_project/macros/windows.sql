{# Windows that slide over midnights, as gains and losses: see user_activity. An increment rewrites the part of a history
   after `opened_at`: what the windows held at that moment opens the running sums. #}

{# What the column of a window changes by when a day enters (`leaving` is 0) or leaves the window of `leaving` days. #}
{% macro change(gain, loss, leaving, window) -%}
    {{ gain if leaving == 0 else "-" ~ loss if leaving == window else "0" }}
{%- endmacro %}

{# Condition on days that enter or leave a window after `opened_at`; the longest has `days` days. #}
{% macro moves_after(day, opened_at, days) -%}
    {{ day }} >= ({{ opened_at }})::date - {{ days }}
{%- endmacro %}

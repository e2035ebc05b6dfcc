{# Features over the last days of a user or an item, at every midnight at which one of them changes.

   A window that slides over midnights changes only where something enters it or leaves it. So each day's total is written
   as a gain on the midnight after it and, as many days later as the window is long, as a loss; running sums of both give
   every window exactly, and an increment goes on from the last row that the table holds.

   `sliding_windows(key, rows, features)` is a list of CTEs, of which `history` is the last: a row per `key` and midnight
   (`feature_at`). `rows` names a CTE with `key`, `day` and what features read. `beside`, where it is given, names a CTE
   of further changes, with `key`, `feature_at` and some of the features' columns. A feature is a dictionary:

    name     its column
    total    SQL over the rows of a day: what the day adds to it
    days     the length of its window; without it everything so far counts
    leaves   SQL over the rows of a day: what leaves with it, where that is not `total`
    type     of the column, integer unless it is said
    latest   in place of `total`: SQL over the rows of a day; the latest that is not null holds
    first    in place of `total`: SQL over the rows of a day; the smallest so far holds #}
{% macro sliding_windows(key, rows, features, beside=none) -%}
{%- set totals = features | selectattr("total", "defined") | list -%}
{%- set windows = totals | selectattr("days", "defined") | list -%}
daily as (

    select
        {{ key }},
        day,
        {%- for feature in features %}
        {%- if feature.total is defined %}
        ({{ feature.total }})::{{ feature.type | default("integer") }} as {{ feature.name }},
        {%- else %}
        {{ feature.latest | default(feature.first) }} as {{ feature.name }},
        {%- endif %}
        {%- if feature.leaves is defined %}
        ({{ feature.leaves }})::{{ feature.type | default("integer") }} as {{ feature.name }}_leaves,
        {%- endif %}
        {%- endfor %}
    from {{ rows }}
    group by {{ key }}, day

),

changes as (

    select
        {{ key }},
        (day + 1)::timestamp as feature_at,
        {%- for feature in features %}
        {{ feature.name }},
        {%- endfor %}
    from daily
    {%- for days in windows | map(attribute="days") | unique | sort %}

    union all by name

    select
        {{ key }},
        (day + 1 + {{ days }})::timestamp as feature_at,
        {%- for feature in windows if feature.days == days %}
        -{{ feature.name }}{{ "_leaves" if feature.leaves is defined }} as {{ feature.name }},
        {%- endfor %}
    from daily
    where
        {%- for feature in windows if feature.days == days %}
        {{ "or " if not loop.first }}{{ feature.name }}{{ "_leaves" if feature.leaves is defined }} != 0
        {%- endfor %}
    {%- endfor %}

),

{% if is_incremental() -%}
-- What the windows held at the midnight after which the history is written.
opening as (

    select * replace ({{ opened_at() }} as feature_at)
    from {{ this }}
    where feature_at <= {{ opened_at() }}
    qualify row_number() over (partition by {{ key }} order by feature_at desc) = 1

),

{% endif -%}
midnights as (

    select
        {{ key }},
        feature_at,
        {%- for feature in features %}
        {%- if feature.total is defined %}
        sum({{ feature.name }})::{{ feature.type | default("integer") }} as {{ feature.name }},
        {%- else %}
        {{ "max" if feature.latest is defined else "min" }}({{ feature.name }}) as {{ feature.name }},
        {%- endif %}
        {%- endfor %}
    from (
        select * from changes
        {%- if is_incremental() %}
        where feature_at > {{ opened_at() }}
        union all by name
        select * from opening
        {%- endif %}
        {%- if beside %}
        union all by name
        select * from {{ beside }}
        {%- endif %}
    ) as all_changes
    where feature_at <= {{ as_of() }}
    group by {{ key }}, feature_at

),

history as (

    select
        {{ key }},
        {%- for feature in features %}
        {%- if feature.total is defined %}
        (sum({{ feature.name }}) over past)::{{ feature.type | default("integer") }} as {{ feature.name }},
        {%- elif feature.latest is defined %}
        last_value({{ feature.name }} ignore nulls) over past as {{ feature.name }},
        {%- else %}
        min({{ feature.name }}) over past as {{ feature.name }},
        {%- endif %}
        {%- endfor %}
        feature_at
    from midnights
    window past as (partition by {{ key }} order by feature_at rows unbounded preceding)

)
{%- endmacro %}

{# The midnight up to which an increment leaves a history of windows as it is: the one before `since`, so that the rows of
   the midnight `since` itself, on which a promotion may begin, are written again. #}
{% macro opened_at() -%}
    (increment.since() - interval 1 day)
{%- endmacro %}

{# Condition on a row's day: whether the windows that an increment writes may still hold it. #}
{% macro moves_windows(day, longest) -%}
    {%- if is_incremental() -%}
    {{ day }} >= {{ opened_at() }} - interval {{ longest }} day
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}

{# How many different users of an item, or items of a user, a window holds: each is gained on a day of int_user_item_days
   that the window's length or more before has no other, and is lost where none follows in time. #}
{% macro distinct_gained(other, days) -%}
    count({{ other }}) filter (where previous_day is null or day - previous_day > {{ days }})
{%- endmacro %}

{% macro distinct_lost(other, days) -%}
    count({{ other }}) filter (where next_day is null or next_day - day > {{ days }})
{%- endmacro %}

{# Why an event is quarantined: the first rule that it breaks, or null. `events` and `items` name the contract's rows; an
   event without a row of the catalogue has an item_id of null on the side of items. #}
{% macro rejected_because(events, items) -%}
    case
        when {{ events }}.excluded_because is not null then {{ events }}.excluded_because
        when {{ events }}.occurred_at = {{ undated() }} then 'moment not readable'
        when {{ events }}.event_type is null then 'event type missing'
        when {{ events }}.event_type not in ('{{ event_types() | join("', '") }}') then 'event type unknown'
        when {{ events }}.unreadable is not null then {{ events }}.unreadable || ' not readable'
        when {{ events }}.occurred_at > {{ events }}.ingested_at then 'occurred after it was taken in'
        when {{ events }}.user_id is null then 'user missing'
        when {{ events }}.item_id is null and {{ events }}.event_type = 'search' then 'search without an item'
        when {{ events }}.item_id is null then 'item missing'
        when {{ items }}.item_id is null then 'item unknown'
        when {{ items }}.excluded_because is not null then {{ items }}.excluded_because
        when {{ events }}.value is null and {{ events }}.event_type in ('purchase', 'rating') then 'value missing'
        when {{ events }}.value <= 0 and {{ events }}.event_type != 'rating' then 'quantity not positive'
        when {{ events }}.amount < 0 then 'amount negative'
    end
{%- endmacro %}

{# A normalised text of a source: Unicode NFC, single blanks, no blank at its ends; null when empty. #}
{% macro clean(column) -%}
    nullif(trim(regexp_replace(nfc_normalize({{ column }}::varchar), '\s+', ' ', 'g')), '')
{%- endmacro %}

{# Outliers: an event counts as at most 1,000 pieces, and its amount in proportion, so that the price of a piece stays.
   The limit is a constant, so that later days do not change earlier ones. A rating is no number of pieces. Returns
   the share of the event that counts. #}
{% macro counted_share(value, event_type) -%}
    if({{ event_type }} != 'rating' and {{ value }} > 1000, 1000 / {{ value }}, 1)
{%- endmacro %}

{# The levels of a category path, the widest first. #}
{% macro levels(path) -%}
    list_filter(list_transform(string_split_regex({{ path }}, '[>|;]'), lambda level: trim(level)), lambda level: level != '')
{%- endmacro %}

{# The labels of a joined text as a set: sorted, each once; null where there are none. `separators`: those between two. #}
{% macro labels(joined, separators) -%}
    nullif(list_sort(list_distinct(list_filter(
        list_transform(string_split_regex({{ joined }}, '[{{ separators }}]'), lambda label: trim(label)), lambda label: label != ''
    ))), [])
{%- endmacro %}

{# Share of the events that may be quarantined, by the meta of the dataset's source definition: `quarantine_share` of all,
   `quarantine_share_of_day` of those of one day. #}
{% macro quarantine_limit(key="quarantine_share", otherwise=0.05) -%}
    {%- set said = [] -%}
    {%- for table in (graph.sources.values() if execute else []) if key in table.source_meta -%}
        {%- do said.append(table.source_meta[key]) -%}
    {%- endfor -%}
    {{ said | first | default(otherwise) }}
{%- endmacro %}

{# An amount of money; null where it is no number, or too large for one. #}
{% macro money(expression) -%}
    try_cast({{ expression }} as decimal(12, 2))
{%- endmacro %}

{# A number that is written with `decimal` (a comma or a dot) before its decimals and perhaps the other sign between
   thousands; null where it is none. #}
{% macro written_number(expression, type, decimal) -%}
    {%- set between = "." if decimal == "," else "," -%}
    try_cast(if(
        regexp_full_match(
            trim({{ expression }}::varchar), '[-+]?(\d+|[1-9]\d{0,2}([{{ between }}]\d{3})+)([{{ decimal }}]\d+)?'
        ),
        replace(replace(trim({{ expression }}::varchar), '{{ between }}', ''), '{{ decimal }}', '.'), null
    ) as {{ type }})
{%- endmacro %}

{# Which fields of a row hold something that is not what they should be, by name; null when all are readable. `fields`: by
   name, what the source holds and what was read of it. #}
{% macro unreadable(fields) -%}
    nullif(concat_ws(', '
        {%- for name, (held, read) in fields.items() %}, if(({{ held }}) is not null and ({{ read }}) is null, '{{ name }}', null)
        {%- endfor %}), '')
{%- endmacro %}

{# The staging model of the chosen dataset that provides a part of the data contract. #}
{% macro staged(part) -%}
    {{ ref("stg_" ~ env_var("ZHIYIN_DATASET") ~ "__" ~ part) }}
{%- endmacro %}

{# Empty promotions, for a dataset without them. #}
{% macro no_promotions() -%}
    select
        null::varchar as item_id,
        null::double as reach,
        null::timestamp as starts_at,
        null::timestamp as ends_at
    where false
{%- endmacro %}

{# Empty offers, for a dataset without them. #}
{% macro no_offers() -%}
    select
        null::varchar as user_id,
        null::varchar as offer_id,
        null::varchar as item_id,
        null::varchar as category,
        null::timestamp as starts_at,
        null::timestamp as ends_at
    where false
{%- endmacro %}

{# The raw tables of events in the lake, whose rows count as landed. #}
{% macro landed_events() -%}
    {%- set files = [] -%}
    {%- for table in (graph.sources.values() if execute else []) if table.meta.get("land", {}).get("events") -%}
        {%- do files.append(env_var("ZHIYIN_LAKE") ~ "/" ~ table.name ~ "/*/part-0.parquet") -%}
    {%- endfor -%}
    read_parquet({{ files }}, hive_partitioning := true, union_by_name := true)
{%- endmacro %}

{# The id of an event whose source has none: a hash of who, what, where and when. Columns that a second delivery may
   change, such as the moment of delivery or a corrected number, are no part of it. #}
{% macro event_id(columns) -%}
    md5(concat_ws('|', {% for column in columns %}coalesce({{ column }}::varchar, ''){{ ", " if not loop.last }}{% endfor %}))
{%- endmacro %}

{# Each raw user of `rows` once, with the pseudonym. Hashing is a Python function, so it is called once per
   user and not once per row; no table keeps the pairs. #}
{% macro pseudonyms(rows, user) -%}
    select
        {{ user }},
        pseudonym({{ user }}::varchar) as user_id
    from (select distinct {{ user }} from {{ rows }}) as raw_users
{%- endmacro %}

{# The timestamp that means: valid from the beginning; also that of an event whose moment cannot be read. #}
{% macro undated() -%}
    timestamp '0001-01-01'
{%- endmacro %}

{# What users do, as the data contract calls it. #}
{% macro event_types() -%}
    {%- do return(["view", "search", "click", "cart", "purchase", "rating"]) -%}
{%- endmacro %}

{# Years of age as a band. #}
{% macro age_band(years) -%}
    case
        when {{ years }} < 18 then 'under 18'
        when {{ years }} < 25 then '18-24'
        when {{ years }} < 35 then '25-34'
        when {{ years }} < 45 then '35-44'
        when {{ years }} < 55 then '45-54'
        when {{ years }} < 65 then '55-64'
        when {{ years }} is not null then '65+'
    end
{%- endmacro %}

{# Empty users, for a dataset without attributes of users. #}
{% macro no_users() -%}
    select
        null::varchar as user_id,
        null::varchar as age_band,
        null::varchar as gender,
        null::varchar as region,
        null::varchar as income_band,
        null::varchar as occupation,
        null::varchar as household_size,
        null::varchar as kids_count,
        null::varchar as home_ownership,
        null::varchar as marital_status,
        null::varchar as attributes,
        null::timestamp as valid_from
    where false
{%- endmacro %}

{# A long log is made into tables a part of the users, or of the items, at a time: lists and windows of all would not fit
   into the memory limit, and DuckDB cannot spill lists.

   A model that is made in parts says `in_part` of the key by which its rows are independent, and has the hooks
   `first_part` and `other_parts`. Its SQL stays as it is compiled; which part it reads is in two variables of DuckDB's
   session. Where they are not set, as in a test or in `dbt show`, it reads all. #}

{# Condition on the keys of a part. #}
{% macro in_part(column) -%}
    (getvariable('parts') is null or hash({{ column }}) % getvariable('parts') = getvariable('part'))
{%- endmacro %}

{# Pre-hook: what the model's materialization makes is the first part. #}
{% macro first_part(makes_states=false) -%}
    {%- if execute -%}
    set variable parts = {{ count_parts(makes_states) }};
    set variable part = 0
    {%- endif -%}
{%- endmacro %}

{# Post-hook: adds the other parts to the table. #}
{% macro other_parts() -%}
    {%- if execute -%}
    {%- for part in range(1, run_query("select getvariable('parts')").rows[0][0]) %}
    set variable part = {{ part }};
    insert into {{ this }} by name
    select * from (
        {{ compiled_code }}
    ) as part_{{ part }};
    {%- endfor %}
    reset variable parts;
    reset variable part
    {%- endif -%}
{%- endmacro %}

{# In how many parts, so that as many as are made at once fit: an event takes some 700 bytes, and some 175 for each state
   that follows from it. An increment is one part, but for one that makes many states or all. #}
{% macro count_parts(makes_states) %}
    {%- if is_incremental() and not makes_states and not begins_anew() -%}{%- do return(1) -%}{%- endif -%}
    {%- set needed = "select count(*) * 700 from " ~ built("int_events") -%}
    {%- if makes_states -%}
        {%- set needed = "
            select count(*) * 175
            from " ~ built("interactions") ~ " as interactions
            inner join (" ~ states_to_make() ~ ") as made
                on interactions.user_id = made.user_id and interactions.occurred_at < made.feature_at
        " -%}
    {%- endif -%}
    {%- do return(run_query("
        select ceil(
            greatest((" ~ needed ~ "), 1) * current_setting('threads')
            / parse_formatted_bytes(current_setting('memory_limit'))
        )::integer
    ").rows[0][0]) -%}
{% endmacro %}

{# A long log is made into tables a part of the users, or of the items, at a time: lists and windows of all would not fit
   into the memory limit, and DuckDB cannot spill lists. #}

{# Condition on the keys of a part. As it is compiled it holds for all; duckdb__create_table_as asks for one part. #}
{% macro in_part(column) -%}
    hash({{ column }}) % 1 = 0
{%- endmacro %}

{# In how many parts, so that as many as are made at once fit: an event takes some 700 bytes, and some 175 for each state
   that follows from it. An increment is one part, but for one that makes many states. #}
{% macro count_parts(compiled_code) %}
    {%- set makes_states = config.get("incremental_strategy") == "carry_over" -%}
    {%- if "% 1 = 0" not in compiled_code or is_incremental() and not makes_states -%}{%- do return(1) -%}{%- endif -%}
    {%- set needed = "select count(*) * 700 from int_events" -%}
    {%- if makes_states -%}
        {%- set needed = "
            select count(*) * 175
            from interactions
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

{# dbt-duckdb's own macro makes the first part. #}
{% macro duckdb__create_table_as(temporary, relation, compiled_code, language="sql", partitioned_by=none, sorted_by=none) %}
    {%- set parts = count_parts(compiled_code) -%}
    {%- set first = compiled_code if parts == 1 else compiled_code.replace("% 1 = 0", "% " ~ parts ~ " = 0") -%}
    {{- dbt.duckdb__create_table_as(temporary, relation, first, language, partitioned_by, sorted_by) }}
    {%- for part in range(1, parts) %}
    insert into {{ relation.include(database=not temporary, schema=not temporary) }} by name
    select * from (
        {{ compiled_code.replace("% 1 = 0", "% " ~ parts ~ " = " ~ part) }}
    ) as part_{{ part }};
    {%- endfor %}
{% endmacro %}

{# A long log is made into tables a part of the users, or of the items, at a time: lists and windows of all would not fit
   into the memory limit, and DuckDB cannot spill lists. #}

{# Condition on the keys of a part. As it is compiled it holds for all; duckdb__create_table_as asks for one part. #}
{% macro in_part(column) -%}
    hash({{ column }}) % 1 = 0
{%- endmacro %}

{# In how many parts, so that as many as are made at once fit: an event takes some 700 bytes. An increment is one, but for
   one that makes the states of all users anew. #}
{% macro count_parts(compiled_code) %}
    {%- set of_few = is_incremental() and (config.get("incremental_strategy") != "move" or snapshots_move() is not none) -%}
    {%- if "% 1 = 0" not in compiled_code or of_few -%}{%- do return(1) -%}{%- endif -%}
    {%- do return(run_query("
        select ceil(
            greatest(count(*), 1) * 700 * current_setting('threads')
            / parse_formatted_bytes(current_setting('memory_limit'))
        )::integer
        from int_events
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

{# Which raw tables a model depends on, and the effect of a new delivery of them. #}

{# Names of the raw tables that models depend on; a history table in between ends the search, since it keeps its rows. #}
{% macro sources_above(unique_ids) %}
    {%- set names, met = [], unique_ids | list -%}
    {%- for unique_id in met -%}{# what is appended is met later #}
        {%- for parent in graph.nodes[unique_id].depends_on.nodes -%}
            {%- if parent in graph.sources -%}
                {%- do names.append(graph.sources[parent].name) -%}
            {%- elif parent not in met and graph.nodes[parent].config.full_refresh != false -%}
                {%- do met.append(parent) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do return("['" ~ names | unique | sort | join("', '") ~ "']") -%}
{% endmacro %}

{% macro sources_of_increments() %}
    {%- set ids = [] -%}
    {%- for node in graph.nodes.values() if is_increment(node) and node.config.full_refresh != false -%}
        {%- do ids.append(node.unique_id) -%}
    {%- endfor -%}
    {%- do return(sources_above(ids)) -%}
{% endmacro %}

{# Whether raw tables of a model changed since the last complete build. #}
{% macro delivered_anew(unique_id) %}
    {%- do return(run_query("
        select
            (select since = '-infinity' from increment.current)
            or exists (from increment.changed where table_name in " ~ sources_above([unique_id]) ~ ")
    ").rows[0][0]) -%}
{% endmacro %}

{# Whether a history table processes the delivery: when the delivery is new since the run of the latest day, and this
   run is not of an earlier day. #}
{% macro takes_in() %}
    {%- if not execute -%}{%- do return(true) -%}{%- endif -%}
    {%- set run = run_query("
        select
            went_back,
            as_of < greatest((select max(as_of) from increment.reached), (select max(recorded_at) from " ~ this ~ ")) as earlier
        from increment.current
    ").rows[0] -%}
    {%- do return(not run["earlier"] and (run["went_back"] or delivered_anew(model.unique_id))) -%}
{% endmacro %}

{# SQL, true or false: whether a build reads events whose moment cannot be read. They lie in a day of their own (NO_DAY of
   zhiyin/landing/table.py), which is before all others: a build that takes a change of it in reads everything. #}
{% macro takes_undated() %}
    {%- if not execute -%}{%- do return("false") -%}{%- endif -%}
    {%- if not run_query("select since <= " ~ undated() ~ " from increment.current").rows[0][0] -%}
        {%- do return("false") -%}
    {%- endif -%}
    {%- set files = run_query("
        select list(file) from glob('" ~ env_var("ZHIYIN_LAKE") ~ "/*/day=0001-01-01/part-0.parquet')
    ").rows[0][0] -%}
    {%- set rows = "select count(*) from read_parquet(" ~ files ~ ", union_by_name := true)" -%}
    {%- do return("true" if files and run_query(rows).rows[0][0] else "false") -%}
{% endmacro %}

{# An item that is new in the catalogue, or no longer excluded, changes the fate of its earlier events. #}
{% macro earliest_changed_fate(since) %}
    {%- set catalogue = sources_above(["model." ~ project_name ~ ".contract_items"]) -%}
    {%- do return(run_query("
        select least(timestamp '" ~ since ~ "', date_trunc('day', min(int_events.occurred_at)))::varchar
        from int_events
        where
            exists (from increment.changed where table_name in " ~ catalogue ~ ")
            and int_events.item_id in (
                select contract_items.item_id
                from contract_items left join int_items on contract_items.item_id = int_items.item_id
                where
                    int_items.item_id is null
                    or contract_items.excluded_because is distinct from int_items.excluded_because
            )
    ").rows[0][0]) -%}
{% endmacro %}

{# How a build finds what is new. The schema `increment` of the warehouse holds

    landed   every file of the lake as the last whole build read it: path, digest, its earliest moment (null: undated)
    built    the last whole build: its as_of and its signature; empty while a build is at work or after it failed
    lake     the files as they are now
    changed  those that are new, gone or others than landed: the raw table and the earliest moment of each
    reached  the latest as_of of all whole builds
    users_before  users of whom the last build held events that happened since `since`, and when the first of these did;
             empty where there is nothing to build on
    snapshots  the moments of the build's user states, and from which of the last build's each starts: snapshots.sql
    current  `as_of` of the build; the moment `since`: events before it, and every state before it or at it, are as they
             were; and whether the last build `went_back` behind an earlier one
    since()  the moment again, as a constant: so that files and row groups before it are never read

A build recomputes what lies after `since`. Where there is nothing to build on, `since` is -infinity, and the
incremental tables are made anew, but for those with full_refresh: false. Those are histories of what was delivered
undated, and the lake holds its latest delivery only. Since they take a new one in, it starts no full refresh; an undated
table that increments read by another way does.

A build of some models (`--select`) touches no table of another. From -infinity on an incremental model replaces every row
of its table in place, so that an edit shows at once. It is no whole build: the next whole one begins anew. #}

{# on-run-start: decides between an increment and a full refresh, and says which and why. #}
{% macro begin_build() %}
    {%- if execute and flags.WHICH in ["build", "run"] -%}
        {%- do run_query(
            "create schema if not exists increment;"
            ~ "create table if not exists increment.landed (path varchar, sha256 varchar, starts_at timestamp);"
            ~ "create table if not exists increment.built (as_of timestamp, signature varchar);"
            ~ "create table if not exists increment.reached (as_of timestamp);"
            ~ "create or replace table increment.users_before (user_id varchar, first_at timestamp)"
        ) -%}
        {%- do list_lake() -%}
        {%- set since, reason = last_unchanged_moment() -%}
        {%- if reason and unselected_models() -%}
            {%- do log("full refresh of the selected models, and of no other: " ~ reason, info=true) -%}
        {%- elif reason -%}
            {%- for node in graph.nodes.values() if is_increment(node) and node.config.full_refresh != false -%}
                {%- set table = adapter.get_relation(node.database, node.schema, node.name) -%}
                {%- if table -%}{%- do adapter.drop_relation(table) -%}{%- endif -%}
            {%- endfor -%}
            {%- do log("full refresh: " ~ reason, info=true) -%}
        {%- else -%}
            {%- set since = earliest_changed_fate(since) -%}
            {%- do log("increment: what happened since " ~ since, info=true) -%}
            {%- do run_query(
                "insert into increment.users_before"
                ~ " select user_id, min(occurred_at) from interactions"
                ~ " where occurred_at >= timestamp '" ~ since ~ "' group by user_id"
            ) -%}
        {%- endif -%}
        {%- do list_snapshots(anew=reason is not none) -%}
        {%- do run_query(
            "create or replace table increment.current as select "
            ~ as_of() ~ " as as_of, timestamp '" ~ since ~ "' as since, coalesce("
            ~ "(select max(as_of) from increment.built) < (select max(as_of) from increment.reached), false) as went_back;"
            ~ "create or replace macro increment.since() as timestamp '" ~ since ~ "';"
            ~ "truncate increment.built"
        ) -%}
    {%- endif -%}
{% endmacro %}

{# on-run-end: a build in which every model was made and no test failed is one to build on. #}
{% macro end_build(results) %}
    {%- if execute and flags.WHICH in ["build", "run"] -%}
        {%- set made = results | selectattr("status", "in", ["success", "pass", "warn", "no-op"]) | map(attribute="node.unique_id") | list -%}
        {%- set models = graph.nodes.values() | selectattr("resource_type", "equalto", "model") | map(attribute="unique_id") | list -%}
        {%- if made | length == results | length and not models | reject("in", made) | list -%}
            {%- do run_query(
                "create or replace table increment.landed as from increment.lake;"
                ~ "create or replace table increment.reached as select max(as_of) as as_of"
                ~ " from (from increment.reached union all select " ~ as_of() ~ ");"
                ~ "insert into increment.built values (" ~ as_of() ~ ", '" ~ build_signature() ~ "')"
            ) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

{# List the lake's files in increment.lake. The earliest moment of a file is read where its source names its
   `event_time`, because a late or repeated event may come in a later day's file; else it is the file's day. #}
{% macro list_lake() %}
    {%- set lists = env_var("ZHIYIN_LAKE") ~ "/*/_landed.json" -%}
    {%- if not run_query("select * from glob('" ~ lists ~ "')").rows -%}
        {%- do exceptions.raise_compiler_error("no files match " ~ lists ~ ": nothing is landed; run the step land first") -%}
    {%- endif -%}
    {%- do run_query("
        create or replace table increment.lake as
        with lists as (

            select
                parse_path(filename)[-2] as table_name,
                unnest(map_entries(files)) as file
            from read_json('" ~ lists ~ "', columns = {files: 'map(varchar, struct(sha256 varchar))'}, filename = true)

        )

        select
            table_name || '/' || file.key as path,
            file.value.sha256 as sha256,
            try_cast(regexp_extract(file.key, '^day=([0-9-]+)/', 1) as timestamp) as starts_at
        from lists
    ") -%}
    {%- do run_query("
        update increment.lake set starts_at = landed.starts_at
        from increment.landed where lake.path = landed.path and lake.sha256 = landed.sha256
    ") -%}
    {%- for source in graph.sources.values() if source.config.event_time -%}
        {%- set changed = run_query("
            select list('" ~ env_var("ZHIYIN_LAKE") ~ "/' || path)
            from increment.lake anti join increment.landed using (path, sha256)
            where path like '" ~ source.name ~ "/day=%'
        ").columns[0].values()[0] -%}
        {%- if changed -%}
            {%- do run_query("
                update increment.lake set starts_at = least(lake.starts_at, files.starts_at)
                from (
                    select filename, min(try(" ~ source.config.event_time ~ ")) as starts_at
                    from read_parquet(" ~ changed ~ ", filename := true) group by filename
                ) as files
                where ends_with(files.filename, '/' || lake.path)
            ") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do run_query("create or replace table increment.changed as " ~ changed_files()) -%}
{% endmacro %}

{# The moment up to which everything is as the last build left it, and, where there is none, why. #}
{% macro last_unchanged_moment() %}
    {%- set decided = run_query(
        decision(as_of_date(), build_signature(), flags.FULL_REFRESH, sources_of_increments())
    ).rows[0] -%}
    {%- do return((decided["since"], decided["reason"])) -%}
{% endmacro %}

{# SQL of that decision, from the tables above and nothing else, so that it is tested without a build. `read_by_increments`
   is the SQL list of the raw tables whose undated changes no history takes in. #}
{% macro decision(as_of, signature, asked, read_by_increments) -%}
    with undated as (

        select string_agg(distinct table_name, ', ') as tables
        from increment.changed
        where starts_at is null and table_name in {{ read_by_increments }}

    ),

    last_build as (

        select
            max(as_of) as as_of,
            max(signature) as signature
        from increment.built

    )

    select
        case
            when {{ asked | lower }} then 'asked for'
            when last_build.as_of is null then 'no whole build to add to'
            when last_build.signature != '{{ signature }}' then 'the project, a setting or a version changed'
            when last_build.as_of > timestamp '{{ as_of }}' then 'the last build has a later as_of'
            when undated.tables is not null then 'undated tables changed: ' || undated.tables
        end as reason,
        if(
            reason is null,
            date_trunc('day', least(last_build.as_of, (select min(starts_at) from increment.changed))),
            timestamp '-infinity'
        )::varchar as since
    from last_build, undated
{%- endmacro %}

{# The models that this command does not make. #}
{% macro unselected_models() %}
    {%- set models = graph.nodes.values() | selectattr("resource_type", "equalto", "model") -%}
    {%- do return(models | map(attribute="unique_id") | reject("in", selected_resources) | list) -%}
{% endmacro %}

{% macro is_increment(node) %}
    {%- do return(node.resource_type == "model" and node.config.materialized == "incremental") -%}
{% endmacro %}

{# SQL of increment.changed. #}
{% macro changed_files() -%}
    select
        split_part(path, '/', 1) as table_name,
        starts_at
    from (
        (from increment.lake anti join increment.landed using (path, sha256))
        union all
        (from increment.landed anti join increment.lake using (path, sha256))
    )
{%- endmacro %}

{# What the tables follow from beside the lake's files: where it lies, SQL, macros, exclusions, event types, pseudonym key,
   DuckDB. #}
{% macro build_signature() %}
    {%- set parts = [] -%}
    {%- for node in graph.nodes.values() | sort(attribute="unique_id") if node.resource_type == "model" -%}
        {%- do parts.append([node.unique_id, node.checksum.checksum, node.config.materialized]) -%}
    {%- endfor -%}
    {%- for name, macro in context[project_name].items() | sort -%}
        {%- do parts.append([name, macro.macro.macro_sql]) -%}
    {%- endfor -%}
    {%- do parts.append([exclusions("users"), exclusions("items"), exclusions("events")]) -%}
    {%- set versions = run_query("select version(), pseudonym('zhiyin')").rows[0] -%}
    {%- do return(local_md5(tojson([parts, taken_types(), env_var("ZHIYIN_LAKE"), versions[0], versions[1]]))) -%}
{% endmacro %}

{# Pre-hook of an incremental model: rows that this build writes again make way, so that dbt's `append` leaves each once.
   Unlike dbt's `delete+insert`, which looks for the keys of new rows, it also removes what has no successor. #}
{% macro make_way(moment) -%}
    {%- if is_incremental() -%}
    delete from {{ this }} where {{ moment }} >= increment.since()
    {%- endif -%}
{%- endmacro %}

{# SQL of the moment from which on this build wrote rows; `otherwise` where it wrote all, and where nothing builds. #}
{% macro written_since(otherwise) -%}
    {%- if execute and flags.WHICH == "build" and not begins_anew() -%}
        increment.since()
    {%- else -%}
        {{ otherwise }}
    {%- endif -%}
{%- endmacro %}

{# Whether nothing of the last build stays. #}
{% macro begins_anew() %}
    {%- do return(run_query("select since = '-infinity' from increment.current").rows[0][0]) -%}
{% endmacro %}

{# Where a model is that this one does not name by `ref`: in the target, or where it is deferred to. #}
{% macro built(name) %}
    {%- set node = graph.nodes["model." ~ project_name ~ "." ~ name] -%}
    {%- if node.defer_relation and not adapter.get_relation(node.database, node.schema, node.alias) -%}
        {%- do return(node.defer_relation.relation_name) -%}
    {%- endif -%}
    {%- do return(node.relation_name) -%}
{% endmacro %}

{# In an increment a test reads what the increment wrote, or what is delivered; the rest was tested when it was. `dbt
   test` reads all, and so does a test that says a `where` of its own. dbt provides this macro for projects to override:
   docs/dbt.md. #}
{% macro get_where_subquery(relation) %}
    {%- set tested = graph.nodes.get(model.attached_node) if execute and flags.WHICH == "build" -%}
    {%- if tested and not model.config.where -%}
        {%- if tested.config.materialized == "view" and not delivered_anew(tested.unique_id) -%}
            {%- set written = "false" -%}
        {%- elif tested.config.event_time -%}
            {%- set written = tested.config.event_time ~ " >= increment.since()" -%}
        {%- endif -%}
    {%- endif -%}
    {%- if written -%}
        {%- do return("(select * from " ~ relation ~ " where " ~ written ~ ") as written") -%}
    {%- endif -%}
    {%- do return(dbt.default__get_where_subquery(relation)) -%}
{% endmacro %}

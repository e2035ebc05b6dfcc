{# How the marts of user states go on from the last build.

   A state follows from the user's events before its moment and from nothing else. So the state at a moment starts from
   the latest snapshot, at that moment or before it, that the last build holds: of a user of whom nothing came in between,
   and nothing late, changed or withdrawn before, it is the same state. int_states_to_make names the others, whose states
   are made anew. Snapshots that are no longer wanted leave; one that stays costs nothing.

   What of a state changes as time passes is therefore not kept in these tables: weights that fade are kept as of the
   user's latest event (user_item_repeats fades them to the snapshot), and shares are the same at any moment. #}

{# on-run-start: increment.snapshots says from which snapshot of the last build the states at each moment start; from none
   (null) where all is made `anew`, and at moments before the last build's first. Rows of a snapshot that is not wanted any
   more `become` those of the last moment that starts from it, which costs a column; other moments' rows are copies. #}
{% macro list_snapshots(anew) %}
    {%- do run_query("
        create table if not exists increment.snapshots (feature_at timestamp, starts_from timestamp, becomes boolean);
        create or replace table increment.snapshots as
        with wanted as (

            select unnest(" ~ snapshots() ~ ") as feature_at

        ),

        held as (

            select feature_at from increment.snapshots
            where not " ~ (anew | lower) ~ "

        )

        select
            wanted.feature_at,
            held.feature_at as starts_from,
            held.feature_at not in (from wanted)
            and wanted.feature_at = max(wanted.feature_at) over (partition by held.feature_at) as becomes
        from wanted
        asof left join held on wanted.feature_at >= held.feature_at
    ") -%}
{% endmacro %}

{# The users and moments whose states a build of this model makes: all, where it reads categories and an item has other
   ones now, and where it begins anew beside an int_states_to_make that does not. #}
{% macro states_to_make() -%}
    {%- if execute and makes_all_states() -%}
    select distinct
        interactions.user_id,
        snapshots.feature_at
    from {{ ref('interactions') }} as interactions
    cross join increment.snapshots as snapshots
    where {{ in_part("interactions.user_id") }}
    {%- else -%}
    select
        user_id,
        feature_at
    from {{ ref('int_states_to_make') }}
    where {{ in_part("user_id") }}
    {%- endif -%}
{%- endmacro %}

{% macro makes_all_states() %}
    {%- if flags.WHICH in ["build", "run"] and begins_anew() -%}
        {%- do return("model." ~ project_name ~ ".int_states_to_make" not in selected_resources) -%}
    {%- endif -%}
    {%- do return(is_incremental() and reads_categories() and categories_moved()) -%}
{% endmacro %}

{% macro reads_categories() %}
    {%- do return("model." ~ project_name ~ ".items" in model.depends_on.nodes) -%}
{% endmacro %}

{# Whether an item has another category or other labels than in the last build. #}
{% macro categories_moved() %}
    {%- set last = run_query("select max(starts_from)::varchar, max(starts_from) = " ~ as_of() ~ " from increment.snapshots").rows[0] -%}
    {#- No state starts from an earlier one: the last build made all anew, as a compilation after it (dbt docs) finds. -#}
    {%- if last[0] is none -%}{%- do return(true) -%}{%- endif -%}
    {%- set run = run_query("
        with versions as (

            select
                greatest(valid_from, recorded_at) > timestamp '" ~ last[0] ~ "' as is_new,
                lag(item_id) over past is not null and (category, labels) is distinct from (lag(category) over past, lag(labels) over past) as differs
            from int_item_history
            where valid_from <= " ~ as_of() ~ "
            window past as (partition by item_id order by valid_from)

        )

        select
            (select went_back from increment.current) as went_back,
            exists (from versions where is_new and differs) as differs
    ").rows[0] -%}
    {%- do return(
        run["went_back"] or run["differs"] or (last[1] and delivered_anew("model." ~ project_name ~ ".contract_items"))
    ) -%}
{% endmacro %}

{# Pre-hook of a table of user states, beside dbt's `append`: the states that go on are copied to their new moments, and
   those that the build makes make way. Most of the new rows are rows that the table holds, at another moment, so that
   a strategy that replaces rows by their key or their period would make them anew. #}
{% macro carry_over() -%}
    {%- if is_incremental() %}
    {%- set made = this.identifier ~ "__made" -%}
    create or replace temporary table {{ made }} as
    select
        states.user_id,
        states.feature_at,
        if(snapshots.becomes, snapshots.starts_from, snapshots.feature_at) as held_at
    from ({{ states_to_make() }}) as states
    inner join increment.snapshots as snapshots on states.feature_at = snapshots.feature_at;

    -- copies
    insert into {{ this }} by name
    select held.* replace (snapshots.feature_at as feature_at)
    from {{ this }} as held
    inner join increment.snapshots as snapshots on held.feature_at = snapshots.starts_from
    where
        snapshots.feature_at != snapshots.starts_from
        and not snapshots.becomes
        and (held.user_id, snapshots.feature_at) not in (select (made.user_id, made.feature_at) from {{ made }} as made);

    -- what leaves, and what is made anew
    delete from {{ this }}
    where
        (select current.since = '-infinity' from increment.current as current)
        or feature_at not in (
            select snapshots.feature_at from increment.snapshots as snapshots
            union all
            select snapshots.starts_from from increment.snapshots as snapshots
            where snapshots.becomes
        )
        or (user_id, feature_at) in (select (made.user_id, made.held_at) from {{ made }} as made);

    -- what becomes the row of a later moment
    update {{ this }} as held set feature_at = snapshots.feature_at
    from increment.snapshots as snapshots
    where snapshots.becomes and held.feature_at = snapshots.starts_from
    {%- endif -%}
{%- endmacro %}

{# How a mart of user states at the snapshots goes on from the last build.

   A state follows from the user's events before its moment. So when the snapshots move on with as_of, the state of a
   user of whom nothing came, changed or went in between stays as it is and only its moment moves; the others are made
   anew. `increment.users_before` names the users of whom the last build held events since `since`. #}

{# Users and moments whose states a build makes: in an increment those that may differ from the last build's. #}
{% macro states_to_make() -%}
    {%- set move = snapshots_move() -%}
    {%- if move is none %}
    select
        users.user_id,
        moments.feature_at
    from (
        select distinct interactions.user_id from {{ ref('interactions') }} as interactions
        where {{ in_part("interactions.user_id") }}
    ) as users
    cross join (select unnest({{ snapshots() }}) as feature_at) as moments
    {%- else -%}
        {%- for moment in snapshot_moments() %}
    select
        interactions.user_id,
        timestamp '{{ moment }}' as feature_at
    from {{ ref('interactions') }} as interactions
    where
        interactions.occurred_at >= least(increment.since(), timestamp '{{ moment }}' - {{ move }})
        and interactions.occurred_at < timestamp '{{ moment }}'

    union

    select
        users_before.user_id,
        timestamp '{{ moment }}' as feature_at
    from increment.users_before
    where increment.since() < timestamp '{{ moment }}' - {{ move }}
            {%- if not loop.last %}

    union
            {% endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{# The events that those states follow from: all of their users, a part of the users at a time. `states`: a CTE of them. #}
{% macro interactions_to_read() -%}
    select * from {{ ref('interactions') }}
    where
        {{ in_part("user_id") }}
        {%- if is_incremental() %}
        and user_id in (select states.user_id from states)
        {%- endif %}
{%- endmacro %}

{# How far the snapshots of {{ this }} move in this build, as an interval; none where all states are made anew: in a full
   refresh, and where the mart reads categories and an item has another one now. #}
{% macro snapshots_move() -%}
    {%- if not execute or not is_incremental() -%}{%- do return(none) -%}{%- endif -%}
    {%- set last = run_query("select max(feature_at)::varchar, date_diff('day', max(feature_at), " ~ as_of() ~ ") from " ~ this).rows[0] -%}
    {%- set reads_categories = "model." ~ project_name ~ ".items" in model.depends_on.nodes -%}
    {%- if last[0] is none or reads_categories and categories_moved(last[0], last[1] == 0) -%}{%- do return(none) -%}{%- endif -%}
    {%- do return("interval " ~ last[1] ~ " day") -%}
{%- endmacro %}

{# Whether an item is in another category than in the build as of `last`. #}
{% macro categories_moved(last, same_day) -%}
    {%- set run = run_query("
        with versions as (

            select
                greatest(valid_from, recorded_at) > timestamp '" ~ last ~ "' as is_new,
                lag(item_id) over past is not null and category is distinct from lag(category) over past as differs
            from int_item_history
            where valid_from <= " ~ as_of() ~ "
            window past as (partition by item_id order by valid_from)

        )

        select
            (select went_back from increment.current) as went_back,
            exists (from versions where is_new and differs) as differs
    ").rows[0] -%}
    {%- do return(
        run["went_back"] or run["differs"] or (same_day and delivered_anew("model." ~ project_name ~ ".contract_items"))
    ) -%}
{%- endmacro %}

{# Incremental strategy `move`: the states that are made anew make way, the moments of the others move. #}
{% macro get_incremental_move_sql(arguments) %}
    {%- set target, move = arguments["target_relation"], snapshots_move() -%}
    {%- set columns = get_quoted_csv(arguments["dest_columns"] | map(attribute="name")) -%}
    {%- if move is none %}
    truncate {{ target }};
    {%- else %}
    delete from {{ target }}
    where (user_id, feature_at + {{ move }}) in (
        select (made.user_id, made.feature_at) from ({{ states_to_make() }}) as made
    );

    update {{ target }} set feature_at = feature_at + {{ move }};
    {%- endif %}

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arguments["temp_relation"] }}
{% endmacro %}

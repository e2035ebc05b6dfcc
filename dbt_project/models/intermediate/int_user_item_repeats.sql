{{ config(
    materialized="incremental",
    incremental_strategy="append",
    pre_hook=["{{ carry_over() }}", "{{ first_part(makes_states=true) }}"],
    post_hook="{{ other_parts() }}"
) }}
-- Weights are taken at the user's latest basket, so that they do not change as time passes: see snapshots.sql.
{% set lists = {
    "item_ids": "item_id",
    "baskets": "baskets",
    "quantities": "quantity",
    "first_at": "first_at",
    "last_at": "last_at",
    "weights_short": "weight_short",
    "weights_long": "weight_long",
    "mean_gap_days": "mean_gap_days"
} %}
with states as (

    {{ states_to_make() }}

),

interactions as (

    select
        *,
        ({{ taken_value() }})::decimal(18, 6) as quantity
    from {{ ref('interactions') }}
    where {{ is_taken() }} and user_id in (select states.user_id from states)

),

-- A basket may have events after a snapshot.
baskets as (

    select
        user_id,
        item_id,
        coalesce(basket_id, event_id) as basket_id,
        {%- for moment in snapshot_moments() %}
        sum(quantity) filter (where occurred_at < timestamp '{{ moment }}') as quantity_{{ loop.index }},
        {%- endfor %}
        {%- for moment in snapshot_moments() %}
        arg_max(value, (occurred_at, event_id)) filter (
            where event_type = 'rating' and occurred_at < timestamp '{{ moment }}'
        ) as grade_{{ loop.index }},
        {%- endfor %}
        min(occurred_at) as bought_at
    from interactions
    group by all

),

latest as (

    select
        baskets.user_id,
        states.feature_at,
        max(baskets.bought_at) as last_basket_at
    from baskets
    inner join states on baskets.user_id = states.user_id and baskets.bought_at < states.feature_at
    group by all

),

-- Decimals, so that the order of summation cannot change the result.
repeats as (

    select
        baskets.user_id,
        latest.feature_at,
        latest.last_basket_at,
        baskets.item_id,
        count(*)::integer as baskets,
        sum(
            case latest.feature_at
                {%- for moment in snapshot_moments() %}
                when timestamp '{{ moment }}' then baskets.quantity_{{ loop.index }}
                {%- endfor %}
            end
        )::double as quantity,
        arg_max(
            case latest.feature_at
                {%- for moment in snapshot_moments() %}
                when timestamp '{{ moment }}' then baskets.grade_{{ loop.index }}
                {%- endfor %}
            end,
            (baskets.bought_at, baskets.basket_id)
        ) as grade,
        epoch(min(baskets.bought_at))::bigint as first_at,
        epoch(max(baskets.bought_at))::bigint as last_at,
        sum(
            pow(0.5, epoch(latest.last_basket_at - baskets.bought_at) / 86400 / 14)::decimal(18, 15)
        )::double as weight_short,
        sum(
            pow(0.5, epoch(latest.last_basket_at - baskets.bought_at) / 86400 / 90)::decimal(18, 15)
        )::double as weight_long
    from baskets
    inner join latest on baskets.user_id = latest.user_id and baskets.bought_at < latest.feature_at
    group by all

),

-- Whole lists are put in order by the places of their items: to sort lists of structs takes half as long again.
numbered as (

    select
        *,
        if(baskets > 1, (last_at - first_at) / 86400 / (baskets - 1), -1) as mean_gap_days,
        row_number() over (partition by user_id, feature_at order by last_at desc, item_id asc) as nth
    from repeats
    qualify nth <= 2000

),

histories as (

    select
        user_id,
        feature_at,
        last_basket_at,
        {%- for column in lists.values() %}
        list({{ column }}) as {{ column }},
        {%- endfor %}
        list(item_id order by nth) filter (where grade is not null) as graded_item_ids,
        list(grade order by nth) filter (where grade is not null) as grades,
        list_grade_up(list(nth)) as places
    from numbered
    group by user_id, feature_at, last_basket_at

)

select
    -- ids
    user_id,

    -- parallel lists, the latest item first
    {%- for name, column in lists.items() %}
    list_select({{ column }}, places) as {{ name }},
    {%- endfor %}

    -- parallel lists of those that the user graded
    graded_item_ids,
    grades,

    -- timestamps
    last_basket_at,
    feature_at
from histories

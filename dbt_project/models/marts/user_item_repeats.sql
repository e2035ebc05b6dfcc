{% set lists = {
    "repeat_item_ids": "item_id",
    "repeat_baskets": "baskets",
    "repeat_quantities": "quantity",
    "repeat_first_at": "first_at",
    "repeat_last_at": "last_at",
    "repeat_decayed_short": "decayed_short",
    "repeat_decayed_long": "decayed_long",
    "repeat_mean_gap_days": "mean_gap_days"
} %}
with interactions as (

    select * from {{ ref('interactions') }}

),

snapshots as (

    select unnest({{ snapshots() }}) as feature_at

),

baskets as (

    select
        user_id,
        item_id,
        coalesce(basket_id, event_id) as basket_id,
        sum(value) as quantity,
        min(occurred_at) as bought_at
    from interactions
    group by all

),

-- Decimals, so that the order of summation cannot change the result.
repeats as (

    select
        baskets.user_id,
        snapshots.feature_at,
        baskets.item_id,
        count(*)::integer as baskets,
        sum(baskets.quantity) as quantity,
        epoch(min(baskets.bought_at))::bigint as first_at,
        epoch(max(baskets.bought_at))::bigint as last_at,
        sum(
            pow(0.5, epoch(snapshots.feature_at - baskets.bought_at) / 86400 / 14)::decimal(18, 15)
        )::double as decayed_short,
        sum(
            pow(0.5, epoch(snapshots.feature_at - baskets.bought_at) / 86400 / 90)::decimal(18, 15)
        )::double as decayed_long
    from baskets
    inner join snapshots on baskets.bought_at < snapshots.feature_at
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
        {%- for column in lists.values() %}
        list({{ column }}) as {{ column }},
        {%- endfor %}
        list_grade_up(list(nth)) as places
    from numbered
    group by user_id, feature_at

)

select
    -- ids
    user_id,

    -- features
    {%- for name, column in lists.items() %}
    list_select({{ column }}, places) as {{ name }},
    {%- endfor %}

    -- timestamps
    feature_at
from histories

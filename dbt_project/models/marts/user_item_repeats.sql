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

ranked as (

    select
        *,
        case when baskets > 1 then (last_at - first_at) / 86400 / (baskets - 1) else -1 end as mean_gap_days
    from repeats
    qualify row_number() over (partition by user_id, feature_at order by last_at desc, item_id) <= 2000

)

select
    -- ids
    user_id,

    -- features
    list(item_id order by last_at desc, item_id) as repeat_item_ids,
    list(baskets order by last_at desc, item_id) as repeat_baskets,
    list(quantity order by last_at desc, item_id) as repeat_quantities,
    list(first_at order by last_at desc, item_id) as repeat_first_at,
    list(last_at order by last_at desc, item_id) as repeat_last_at,
    list(decayed_short order by last_at desc, item_id) as repeat_decayed_short,
    list(decayed_long order by last_at desc, item_id) as repeat_decayed_long,
    list(mean_gap_days order by last_at desc, item_id) as repeat_mean_gap_days,

    -- timestamps
    feature_at
from ranked
group by user_id, feature_at

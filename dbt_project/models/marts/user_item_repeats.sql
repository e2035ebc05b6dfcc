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

histories as (

    select
        user_id,
        feature_at,
        list({
            'item_id': item_id,
            'baskets': baskets,
            'quantity': quantity,
            'first_at': first_at,
            'last_at': last_at,
            'decayed_short': decayed_short,
            'decayed_long': decayed_long,
            'mean_gap_days': if(baskets > 1, (last_at - first_at) / 86400 / (baskets - 1), -1)
        } order by last_at desc, item_id asc)[1:2000] as items
    from repeats
    group by user_id, feature_at

)

select
    -- ids
    user_id,

    -- features
    list_transform(items, lambda item: item.item_id) as repeat_item_ids,
    list_transform(items, lambda item: item.baskets) as repeat_baskets,
    list_transform(items, lambda item: item.quantity) as repeat_quantities,
    list_transform(items, lambda item: item.first_at) as repeat_first_at,
    list_transform(items, lambda item: item.last_at) as repeat_last_at,
    list_transform(items, lambda item: item.decayed_short) as repeat_decayed_short,
    list_transform(items, lambda item: item.decayed_long) as repeat_decayed_long,
    list_transform(items, lambda item: item.mean_gap_days) as repeat_mean_gap_days,

    -- timestamps
    feature_at
from histories

with interactions as (

    select * from {{ ref('interactions') }}

),

snapshots as (

    select unnest({{ snapshots() }}) as feature_at

),

-- The items of a basket carry no order: their ids give them one that is always the same.
latest as (

    select
        interactions.user_id,
        snapshots.feature_at,
        interactions.item_id,
        interactions.event_type,
        interactions.value,
        coalesce(interactions.basket_id, interactions.event_id) as basket_id,
        epoch(interactions.occurred_at)::bigint as at_seconds,
        row_number() over (
            partition by interactions.user_id, snapshots.feature_at
            order by
                interactions.occurred_at desc, interactions.basket_id desc,
                interactions.item_id desc, interactions.event_id desc
        ) as recency
    from interactions
    inner join snapshots on interactions.occurred_at < snapshots.feature_at
    qualify recency <= 256

),

placed as (

    select
        *,
        dense_rank() over (partition by user_id, feature_at order by at_seconds, basket_id)::integer - 1 as basket
    from latest

)

select
    -- ids
    user_id,

    -- features
    list(item_id order by recency desc) as sequence_item_ids,
    list(at_seconds order by recency desc) as sequence_at,
    list(event_type order by recency desc) as sequence_types,
    list(value order by recency desc) as sequence_values,
    list(basket order by recency desc) as sequence_baskets,

    -- timestamps
    feature_at
from placed
group by user_id, feature_at

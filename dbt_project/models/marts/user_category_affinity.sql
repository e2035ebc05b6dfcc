with interactions as (

    select * from {{ ref('interactions') }}

),

items as (

    select
        item_id,
        category
    from {{ ref('items') }}
    where category is not null

),

snapshots as (

    select unnest({{ snapshots() }}) as feature_at

),

days as (

    select
        interactions.user_id,
        items.category,
        interactions.occurred_at::date as day,
        count(*) as events
    from interactions
    inner join items on interactions.item_id = items.item_id
    group by all

),

-- Decimals, so that the order of summation cannot change the result.
decayed as (

    select
        days.user_id,
        snapshots.feature_at,
        days.category,
        sum((days.events * pow(0.5, (snapshots.feature_at::date - days.day) / 60))::decimal(18, 12)) as weight
    from days
    inner join snapshots on days.day < snapshots.feature_at::date
    group by all

),

profiles as (

    select
        user_id,
        feature_at,
        sum(weight)::double as total,
        list({
            'category': category,
            'weight': weight::double
        } order by weight desc, category asc)[1:50] as categories
    from decayed
    group by user_id, feature_at

)

select
    -- ids
    user_id,

    -- features
    list_transform(categories, lambda item: item.category) as affinity_categories,
    list_transform(categories, lambda item: item.weight / total) as affinity_shares,

    -- timestamps
    feature_at
from profiles

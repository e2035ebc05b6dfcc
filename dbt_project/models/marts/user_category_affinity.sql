{{ config(
    materialized="incremental",
    incremental_strategy="append",
    pre_hook=["{{ carry_over() }}", "{{ first_part(makes_states=true) }}"],
    post_hook="{{ other_parts() }}"
) }}
with states as (

    {{ states_to_make() }}

),

interactions as (

    select * from {{ ref('interactions') }}
    where user_id in (select states.user_id from states)

),

items as (

    select
        item_id,
        category
    from {{ ref('items') }}
    where category is not null

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

latest as (

    select
        days.user_id,
        states.feature_at,
        max(days.day) as day
    from days
    inner join states on days.user_id = states.user_id and days.day < states.feature_at::date
    group by all

),

-- Shares are the same whenever the weights are taken. At the user's latest day they do not change as time passes.
-- Decimals, so that the order of summation cannot change the result.
decayed as (

    select
        days.user_id,
        latest.feature_at,
        days.category,
        sum((days.events * pow(0.5, (latest.day - days.day) / 60))::decimal(18, 12)) as weight
    from days
    inner join latest on days.user_id = latest.user_id and days.day <= latest.day
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

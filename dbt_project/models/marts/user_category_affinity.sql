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
        category,
        labels
    from {{ ref('items') }}

),

-- Whatever an item is of: its category, each of its labels, and (null) that it has labels at all.
groups as (

    select
        item_id,
        false as is_label,
        category as name
    from items
    where category is not null

    union all

    select
        item_id,
        true as is_label,
        unnest(labels || [null]) as name
    from items
    where labels is not null

),

days as (

    select
        interactions.user_id,
        groups.is_label,
        groups.name,
        interactions.occurred_at::date as day,
        count(*) as events
    from interactions
    inner join groups on interactions.item_id = groups.item_id
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
        days.is_label,
        days.name,
        sum((days.events * pow(0.5, (latest.day - days.day) / 60))::decimal(18, 12)) as weight
    from days
    inner join latest on days.user_id = latest.user_id and days.day <= latest.day
    group by all

),

profiles as (

    select
        user_id,
        feature_at,
        sum(weight) filter (where not is_label)::double as in_categories,
        sum(weight) filter (where is_label and name is null)::double as labelled,
        list({
            'name': name,
            'weight': weight::double
        } order by weight desc, name asc) filter (where not is_label)[1:50] as categories,
        list({
            'name': name,
            'weight': weight::double
        } order by weight desc, name asc) filter (where is_label and name is not null)[1:50] as labels
    from decayed
    group by user_id, feature_at

)

select
    -- ids
    user_id,

    -- features
    list_transform(categories, lambda item: item.name) as affinity_categories,
    list_transform(categories, lambda item: item.weight / in_categories) as affinity_shares,
    list_transform(labels, lambda item: item.name) as affinity_labels,
    list_transform(labels, lambda item: item.weight / labelled) as affinity_label_shares,

    -- timestamps
    feature_at
from profiles

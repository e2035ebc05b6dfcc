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

-- The items of a basket carry no order: their ids give them one that is always the same.
events as (

    select
        user_id,
        item_id,
        event_type,
        value,
        occurred_at,
        coalesce(basket_id, event_id) as basket_id,
        event_id
    from interactions

),

numbered as (

    select
        *,
        row_number() over (partition by user_id order by occurred_at, basket_id, item_id, event_id) as nth,
        dense_rank() over (partition by user_id order by occurred_at, basket_id) as basket
    from events

),

histories as (

    select
        user_id,
        list({
            'item_id': item_id,
            'at': epoch(occurred_at)::bigint,
            'event_type': event_type,
            'value': value,
            'basket': basket
        } order by nth) as events
    from numbered
    group by user_id

),

-- How much of each history lies before a snapshot.
lengths as (

    select
        numbered.user_id,
        states.feature_at,
        count(*) as length
    from numbered
    inner join states on numbered.user_id = states.user_id and numbered.occurred_at < states.feature_at
    group by numbered.user_id, states.feature_at

),

latest as (

    select
        lengths.user_id,
        lengths.feature_at,
        histories.events[greatest(lengths.length - 255, 1):lengths.length] as events
    from lengths
    inner join histories on lengths.user_id = histories.user_id

)

select
    -- ids
    user_id,

    -- features
    list_transform(events, lambda event: event.item_id) as sequence_item_ids,
    list_transform(events, lambda event: event.at) as sequence_at,
    list_transform(events, lambda event: event.event_type) as sequence_types,
    list_transform(events, lambda event: event.value) as sequence_values,
    list_transform(events, lambda event: (event.basket - events[1].basket)::integer) as sequence_baskets,

    -- timestamps
    feature_at
from latest

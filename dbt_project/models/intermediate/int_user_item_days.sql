{{ config(
    materialized="incremental",
    incremental_strategy="delete+insert",
    unique_key=["user_id", "item_id"],
    event_time="day",
    pre_hook=["{{ make_way('day') }}", "{{ first_part() }}"],
    post_hook="{{ other_parts() }}"
) }}
-- The days of a user with an item: the input of every window and every distinct count.
with events as (

    select * from {{ ref('int_events') }}
    where fate = 'kept' and {{ in_part("user_id") }}

),

{% if is_incremental() -%}
-- The pairs that had or have such a day since then: of these each row counts and links the others. The days that they
-- had made way; the row before still names them.
touched as (

    select
        user_id,
        item_id
    from events
    where occurred_at >= increment.since()

    union

    select
        user_id,
        item_id
    from {{ this }}
    where next_day >= increment.since()

),

{% endif -%}
days as (

    select
        user_id,
        item_id,
        occurred_at::date as day,
        count(*) as events,
        count(*) filter (where {{ is_taken() }}) as taken,
        count(*) filter (where event_type = 'purchase') as purchases,
        coalesce(sum(value::decimal(18, 6)) filter (where event_type = 'purchase'), 0)::decimal(18, 6) as pieces,
        (sum(amount) filter (where event_type = 'purchase'))::decimal(18, 2) as amount,
        count(*) filter (where event_type = 'purchase' and discount > 0) as discounted_purchases,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from events
    {%- if is_incremental() %}
    where (events.user_id, events.item_id) in (select (touched.user_id, touched.item_id) from touched)
    {%- endif %}
    group by user_id, item_id, occurred_at::date

)

select
    *,
    row_number() over history as nth_day,
    lag(day) over history as previous_day,
    lead(day) over history as next_day,
    if(taken > 0, count(*) filter (where taken > 0) over history, null) as nth_taken_day,
    max(day) filter (where taken > 0) over (history rows between unbounded preceding and 1 preceding)
        as previous_taken_day,
    min(day) filter (where taken > 0) over (history rows between 1 following and unbounded following)
        as next_taken_day
from days
window history as (partition by user_id, item_id order by day)

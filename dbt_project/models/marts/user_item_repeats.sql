{{ config(materialized="view") }}
with repeats as (

    select
        *,
        epoch(feature_at - last_basket_at) / 86400 as days_since
    from {{ ref('int_user_item_repeats') }}

)

select
    -- ids
    user_id,

    -- features
    item_ids as repeat_item_ids,
    baskets as repeat_baskets,
    quantities as repeat_quantities,
    first_at as repeat_first_at,
    last_at as repeat_last_at,
    list_transform(weights_short, lambda weight: weight * pow(0.5, days_since / 14)) as repeat_decayed_short,
    list_transform(weights_long, lambda weight: weight * pow(0.5, days_since / 90)) as repeat_decayed_long,
    mean_gap_days as repeat_mean_gap_days,
    graded_item_ids,
    grades,

    -- timestamps
    feature_at
from repeats

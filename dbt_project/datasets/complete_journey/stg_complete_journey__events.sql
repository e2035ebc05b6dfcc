{{ config(event_time="occurred_at") }}
-- Raw household ids end here.
with source as (

    select * from {{ source('complete_journey', 'transactions') }}

),

pseudonyms as materialized (

    {{ pseudonyms("source", "household_id") }}

)

select
    -- ids
    md5(concat_ws(
        '|', source.household_id, source.store_id, source.basket_id, source.product_id, source.quantity,
        source.sales_value, source.retail_disc, source.coupon_disc, source.coupon_match_disc,
        source.transaction_timestamp
    )) as event_id,
    concat_ws('/', source.basket_id, source.product_id) as source_row,
    pseudonyms.user_id,
    source.product_id::varchar as item_id,
    source.basket_id::varchar as basket_id,
    null::varchar as session_id,

    -- facts
    'purchase' as event_type,
    source.quantity::double as value, -- gallons or cents for some services, which are set aside later
    {{ money('greatest(source.sales_value - source.coupon_disc, 0)') }} as amount, -- coupons are paid by their issuer
    {{ money('source.retail_disc + source.coupon_disc + source.coupon_match_disc') }} as discount,
    null::varchar as query_text,
    'complete_journey' as source,
    {{ unreadable({
        'amount': ('source.sales_value', money('source.sales_value')),
        'discount': ('source.retail_disc', money('source.retail_disc + source.coupon_disc + source.coupon_match_disc'))
    }) }} as unreadable,

    -- timestamps
    source.transaction_timestamp as occurred_at,
    null::timestamp as ingested_at
from source
inner join pseudonyms on source.household_id = pseudonyms.household_id

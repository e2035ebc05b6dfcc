-- A household gets every coupon of its campaigns. The coupons of one campaign are good for up to 20,000 products, so
-- an offer's scope is the category of its products.
with campaigns as (

    select * from {{ source('complete_journey', 'campaigns') }}

),

descriptions as (

    select * from {{ source('complete_journey', 'campaign_descriptions') }}

),

coupons as (

    select * from {{ source('complete_journey', 'coupons') }}

),

products as (

    select * from {{ source('complete_journey', 'products') }}

),

scopes as (

    select distinct
        coupons.campaign_id,
        products.product_category as category
    from coupons
    inner join products on coupons.product_id = products.product_id
    where products.product_category is not null

),

pseudonyms as materialized (

    {{ pseudonyms("campaigns", "household_id") }}

)

select
    -- ids
    pseudonyms.user_id,
    campaigns.campaign_id::varchar as offer_id,
    null::varchar as item_id,
    scopes.category,

    -- timestamps
    descriptions.start_date as starts_at,
    descriptions.end_date + interval 1 day as ends_at
from campaigns
inner join pseudonyms on campaigns.household_id = pseudonyms.household_id
inner join descriptions on campaigns.campaign_id = descriptions.campaign_id
inner join scopes on campaigns.campaign_id = scopes.campaign_id

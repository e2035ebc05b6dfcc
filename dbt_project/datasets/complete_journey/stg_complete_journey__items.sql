-- The catalogue in the shape of the data contract: readable texts, and which products are no merchandise.
with source as (

    select * from {{ source('complete_journey', 'products') }}

),

products as (

    select
        product_id::varchar as item_id,
        manufacturer_id::varchar as manufacturer_id,
        department,
        brand,
        product_category as category,
        product_type,
        package_size
    from source

),

worded as (

    select
        *,
        {{ words('department', abbreviations()) }} as department_words,
        {{ words('category', abbreviations()) }} as category_words,
        {{ words('product_type', abbreviations()) }} as type_words,
        {{ words('package_size', units()) }} as size_words
    from products

),

described as (

    select
        *,
        {{ title_case('coalesce(type_words, category_words, department_words)') }} as name,
        {{ plain('department_words') }} as department_text,
        {{ plain('category_words') }} as category_text,
        {{ plain('type_words') }} as type_text,
        {{ plain('size_words') }} as size_text,
        case brand when 'Private' then 'private label' when 'National' then 'national brand' end as brand_text
    from worded

)

select
    -- ids
    item_id,

    -- texts
    concat_ws(' ', name, package_size) as title,
    concat_ws(', ', name, brand_text, package_size, 'in ' || concat_ws(' / ', department_text, category_text))
        as description,
    concat_ws(', ', brand_text, department_text, category_text, type_text, size_text) as document,

    -- attributes
    concat_ws(' > ', department, category, product_type) as category_path,
    department,
    category,
    brand,
    null::double as price, -- receipts alone say what was paid
    json_object(
        'product_type', product_type, 'package_size', package_size, 'manufacturer_id', manufacturer_id
    )::varchar as attributes,
    null::varchar as image_url,
    true as available,
    case
        when department is null then 'department missing'
        when department in (
            'FUEL', 'COUPON', 'MISCELLANEOUS', 'CNTRL/STORE SUP', 'ELECT &PLUMBING', 'PROD-WHS SALES'
        ) then 'department is no merchandise'
        when category in ('COUPON/MISC ITEMS', 'COUPON', 'COUPONS/STORE & MFG', 'FUEL')
            then 'category is no merchandise'
        when product_type in ('MISC SALES TRANS', 'TICKETS', 'DONATIONS') then 'type is no merchandise'
    end as excluded_because,

    -- timestamps: the catalogue is undated, so it holds from the first day of the data
    timestamp '2017-01-01' as valid_from
from described

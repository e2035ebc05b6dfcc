-- The catalogue in the shape of the data contract: readable texts, and which products are no merchandise.
with source as (

    select * from {{ source('complete_journey', 'products') }}

),

short_forms as materialized (

    select
        used_in,
        map(list(short_form), list(meaning)) as forms
    from {{ ref('base_complete_journey__short_forms') }}
    group by used_in

),

names as (

    select * from {{ ref('base_complete_journey__names') }}

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

-- Titles are written out further than documents: vectors are made of these, and would have to be made anew.
title_forms as materialized (

    select map(list(short_form), list(meaning)) as forms
    from {{ ref('base_complete_journey__short_forms') }}
    where used_in in ('text', 'title')

),

-- 92,000 products share 2,700 names and 3,700 sizes, so that each of these is put into words once.
-- A third level is cut at 30 characters, often within a parenthesis; what one leaves out is no name.
phrases as (

    select
        phrase,
        regexp_replace(phrase, '(?i)\((ex|all othe|incl|under|over)[^)]*\)?|[(][^)]*$', ' ', 'g') as whole
    from (select distinct unnest([department, category, product_type]) as phrase from products) as distinct_phrases

),

worded as materialized (

    select
        phrases.phrase,
        {{ words('phrases.whole', 'short_forms.forms') }} as phrase_words,
        {{ words("replace(phrases.whole, '&', ' and ')", 'title_forms.forms') }} as title_words,
        {{ title_case('title_words') }} as title,
        {{ plain('phrase_words') }} as plain_text
    from phrases
    inner join short_forms on short_forms.used_in = 'text'
    cross join title_forms

),

sizes as (

    select
        package_size,
        regexp_replace(package_size, '[(][^)]*$', ' ') as whole
    from (select distinct package_size from products) as distinct_sizes

),

worded_sizes as materialized (

    select
        sizes.package_size,
        {{ words('sizes.whole', 'short_forms.forms') }} as size_words,
        {{ plain('size_words') }} as plain_text,
        regexp_replace(regexp_replace(sizes.whole, '^[A-Za-z ]+ ([0-9.])', '\1'), '^[.]', '0.') as number_first,
        {{ words('number_first', 'shown_forms.forms') }} as shown_words,
        regexp_replace(array_to_string(shown_words, ' '), ' / ', '/', 'g') as shown,
        regexp_matches(sizes.package_size, '(?i)[0-9 ]ct\b') as is_count,
        try_cast(regexp_extract(sizes.package_size, '(?i)^([0-9.]+) *LB', 1) as double) as pounds,
        regexp_matches(sizes.package_size, '(?i)\brw\b') as is_weighed
    from sizes
    inner join short_forms on short_forms.used_in = 'size'
    inner join short_forms as shown_forms on shown_forms.used_in = 'title size'

),

described as (

    select
        products.*,
        coalesce(names.name, types.title, categories.title, departments.title) as name,
        -- A crate's size says nothing to who buys a fruit of it, nor a range of weights to who has some cut off.
        case
            when worded_sizes.is_weighed then null
            when products.department = 'PRODUCE' and (worded_sizes.is_count or worded_sizes.pounds > 10) then null
            else worded_sizes.shown
        end as shown_size,
        departments.plain_text as department_text,
        categories.plain_text as category_text,
        types.plain_text as type_text,
        worded_sizes.plain_text as size_text,
        case products.brand when 'Private' then 'private label' when 'National' then 'national brand' end as brand_text
    from products
    left join worded as departments on products.department = departments.phrase
    left join worded as categories on products.category = categories.phrase
    left join worded as types on products.product_type = types.phrase
    left join worded_sizes on products.package_size = worded_sizes.package_size
    left join names on products.category = names.category and products.product_type = names.product_type

)

select
    -- ids
    item_id,

    -- texts
    concat_ws(', ', name, shown_size, case brand when 'Private' then 'store brand' end) as title,
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

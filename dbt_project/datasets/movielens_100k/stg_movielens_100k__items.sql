with source as (

    select * from {{ source('movielens_100k', 'movies') }}

),

-- "Net, The" is "The Net".
films as (

    select
        "item_id:token" as item_id,
        trim(regexp_replace(
            "movie_title:token_seq", '^([^(]*), (The|A|An|La|Le|Les|Il|El|Das|Der|Die) *([(].*)?$', '\2 \1 \3'
        )) as name,
        try_cast("release_year:token" as integer) as year,
        list_filter(string_split("class:token_seq", ' '), lambda genre: genre != 'unknown') as genres
    from source

)

select
    -- ids
    item_id,

    -- texts
    concat_ws(' ', name, '(' || year || ')') as title,
    concat_ws(', ', nullif(array_to_string(genres, ' / '), ''), year) as description,
    lower(concat_ws(', ', name, year, nullif(array_to_string(genres, ', '), ''))) as document,

    -- attributes
    null::varchar as category_path,
    null::varchar as department,
    null::varchar as category,
    nullif(list_sort(genres), []) as labels, -- genres stand side by side: a film is of all of them
    null::varchar as brand,
    null::double as price,
    json_object('year', year)::varchar as attributes,
    null::varchar as image_url,
    true as available,
    if(name = 'unkonwn', 'title missing', null) as excluded_because,

    -- timestamps: the catalogue is undated, so it holds from the first day of the data
    timestamp '1997-09-20' as valid_from
from films

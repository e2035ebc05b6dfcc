-- A rating is graded feedback: its value is the grade. Ratings of one second keep the order of the file, a microsecond
-- apart a line.
with source as (

    select
        "user_id:token" as person_id,
        "item_id:token" as item_id,
        "rating:float" as held_value,
        try_cast("rating:float" as double) as value,
        make_timestamp(try_cast(try_cast("timestamp:float" as double) * 1000000 as bigint)) as rated_at,
        line
    from {{ source('movielens_100k', 'ratings') }}

),

pseudonyms as materialized (

    {{ pseudonyms("source", "person_id") }}

),

ratings as (

    select
        source.*,
        pseudonyms.user_id
    from source
    inner join pseudonyms on source.person_id = pseudonyms.person_id

)

select
    -- ids
    {{ event_id(['user_id', 'item_id', 'rated_at']) }} as event_id,
    concat_ws('/', item_id, epoch(rated_at)::bigint) as source_row,
    user_id,
    item_id,
    null::varchar as basket_id,
    null::varchar as session_id,

    -- facts
    'rating' as event_type,
    value,
    null::decimal(12, 2) as amount,
    null::decimal(12, 2) as discount,
    null::varchar as query_text,
    'movielens_100k' as source,
    {{ unreadable({'value': ('held_value', 'value')}) }} as unreadable,

    -- timestamps
    rated_at + to_microseconds(line) as occurred_at,
    null::timestamp as ingested_at
from ratings

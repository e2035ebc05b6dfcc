{{ config(materialized="view") }}
-- Before the first version of an item is valid, that version is used: the item is known.
select * exclude (recorded_at)
from {{ ref('int_item_history') }}
qualify
    row_number() over (
        partition by item_id
        order by valid_from <= {{ as_of() }} desc, if(valid_from <= {{ as_of() }}, valid_from, null) desc, valid_from
    ) = 1

{# Which types of events count as what. Activity is of every type; money and pieces are of purchases; and what a user took,
   day by day and basket by basket, is what the dataset's log tells of it: purchases and ratings, or events of every type in
   a log that has neither, such as one of views. What a log has, its source definition says (`event_types`). #}

{# The types by which a user takes an item: those above, however long the log. #}
{% macro taken_types() %}
    {%- set said = [] -%}
    {%- for table in (graph.sources.values() if execute else []) if table.meta.get("land", {}).get("events") -%}
        {%- do said.extend(table.meta["land"].get("event_types", [])) -%}
    {%- endfor -%}
    {%- set by_choice = ["purchase", "rating"] -%}
    {%- do return(by_choice | select("in", said) | list or said | unique | sort or by_choice) -%}
{% endmacro %}

{# Condition on an event: the user takes the item by it. #}
{% macro is_taken() -%}
    event_type in ('{{ taken_types() | join("', '") }}')
{%- endmacro %}

{# How much of an item an event brings: pieces of a purchase; in a log without purchases, the grade or the one view. #}
{% macro taken_value() -%}
    {{ "if(event_type = 'purchase', value, 0)" if "purchase" in taken_types() else "value" }}
{%- endmacro %}

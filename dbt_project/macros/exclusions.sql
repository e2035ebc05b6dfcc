{# What a dataset leaves out on purpose: `exclude` in the meta of its source definition (zhiyin/landing/exclusions.py). #}

{# The entries of users, items or events. #}
{% macro exclusions(kind) %}
    {%- for table in (graph.sources.values() if execute else []) if table.source_meta.get("exclude") -%}
        {%- do return(table.source_meta["exclude"].get(kind, [])) -%}
    {%- endfor -%}
    {%- do return([]) -%}
{% endmacro %}

{# The whens of entries: their SQL, or that `key` is one of their ids; users are listed by the source's ids, and known here
   by pseudonyms. #}
{% macro excluding_whens(entries, key=none, pseudonymous=false) -%}
    {%- for entry in entries %}
        when {% if entry.where -%}
            ({{ entry.where }})
        {%- else -%}
            {{ key }} in (
            {%- for id in entry.ids -%}
                {%- set text = clean("'" ~ id | replace("'", "''") ~ "'") -%}
                {{ "pseudonym(" ~ text ~ ")" if pseudonymous else text }}{{ ", " if not loop.last }}
            {%- endfor -%}
            )
        {%- endif %} then 'excluded: {{ entry.because | replace("'", "''") }}'
    {%- endfor %}
{%- endmacro %}

{# Why an event is left out on purpose, or null: its user, its item by id, or a rule on events. A rule on items is for the
   catalogue to follow. #}
{% macro event_excluded_because() -%}
    {%- set whens = excluding_whens(exclusions("users"), "user_id", pseudonymous=true)
        ~ excluding_whens(exclusions("items") | selectattr("ids", "defined"), "item_id")
        ~ excluding_whens(exclusions("events")) -%}
    {{ "case" ~ whens ~ " end" if whens | trim else "null::varchar" }}
{%- endmacro %}

{# Why an item is left out: by the dataset's staging, by its id, or by a rule on items. #}
{% macro item_excluded_because() -%}
    {%- set whens = excluding_whens(exclusions("items"), "item_id") -%}
    {{ "coalesce(excluded_because, case" ~ whens ~ " end)" if whens | trim else "excluded_because" }}
{%- endmacro %}

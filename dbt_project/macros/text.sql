{# A text as a list of lower-case words and slashes: other signs are gone, and short forms, the keys of a map, are written
   out; null when nothing is left. #}
{% macro words(text, short_forms) -%}
    nullif(list_transform(
        list_filter(
            string_split(regexp_replace(replace(lower({{ text }}), '/', ' / '), '[^a-z0-9./&%'']+', ' ', 'g'), ' '),
            lambda word: word not in ('', '.', '&')
        ),
        lambda word: coalesce({{ short_forms }}[word], word)
    ), [])
{%- endmacro %}

{# Words as plain text, without slashes. #}
{% macro plain(words) -%}
    array_to_string(list_filter({{ words }}, lambda word: word != '/'), ' ')
{%- endmacro %}

{# Words as a title: each with a capital. #}
{% macro title_case(words) -%}
    replace(array_to_string(list_transform(
        string_split(array_to_string({{ words }}, ' '), ' '),
        lambda word: upper(word[1]) || word[2:]
    ), ' '), ' / ', '/')
{%- endmacro %}

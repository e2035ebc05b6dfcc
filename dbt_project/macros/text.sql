{# Abbreviations of retail catalogues, word by word. #}
{% macro abbreviations() -%}
    map {
        'asst': 'assorted', 'bkd': 'baked', 'bn': 'bean', 'btl': 'bottle', 'carb': 'carbonated', 'chkn': 'chicken',
        'choc': 'chocolate', 'cntrl': 'central', 'conc': 'concentrate', 'cond': 'conditioner', 'ct': 'count',
        'dnrs': 'dinners', 'drnk': 'drink', 'drnks': 'drinks', 'drsng': 'dressing', 'exc': 'except',
        'fd': 'food', 'fds': 'foods', 'fl': 'fluid', 'flvrd': 'flavoured', 'frsh': 'fresh', 'frz': 'frozen',
        'frzn': 'frozen', 'ga': 'gallon', 'gal': 'gallon', 'gds': 'goods', 'gm': 'general merchandise',
        'hshld': 'household', 'in': 'inch', 'juc': 'juice', 'lb': 'pound', 'lbs': 'pounds', 'ltr': 'litre',
        'meds': 'medicines', 'mfg': 'manufacturer', 'misc': 'miscellaneous', 'ml': 'millilitre', 'mlt': 'multi',
        'mt': 'meat', 'mxs': 'mixes', 'nat': 'natural', 'oz': 'ounce', 'pckgd': 'packaged', 'pk': 'pack',
        'pkg': 'package', 'pkgd': 'packaged', 'pkt': 'packet', 'pnt': 'peanut', 'prk': 'pork', 'prod': 'product',
        'ptry': 'poultry', 'pty': 'party', 'qt': 'quart', 'refrgratd': 'refrigerated', 'rfrg': 'refrigerated',
        'rtl': 'retail', 'rts': 'ready to serve', 'sald': 'salad', 'sft': 'soft', 'sherbts': 'sherbets',
        'shlf': 'shelf', 'sndwch': 'sandwich', 'sngl': 'single', 'sply': 'supplies', 'spl': 'supplies',
        'spr': 'spread', 'sprd': 'spread', 'srv': 'serve', 'stbl': 'stable', 'strwbry': 'strawberry', 'sw': 'sweet',
        'swt': 'sweet', 'trky': 'turkey', 'veg': 'vegetable', 'wht': 'white', 'whl': 'whole', 'wt': 'weight'
    }
{%- endmacro %}

{# A catalogue text as a list of lower-case words: separators and cut-off parentheses gone, abbreviations expanded;
   null when nothing is left. #}
{% macro words(column) -%}
    nullif(list_transform(
        list_filter(
            string_split(
                regexp_replace(
                    regexp_replace(lower({{ column }}), '\((ex|all othe|incl|under|over)[^)]*\)?|[(][^)]*$', ' ', 'g'),
                    '[^a-z0-9./&%'']+', ' ', 'g'
                ),
                ' '
            ),
            lambda word: word not in ('', '.', '/', '&')
        ),
        lambda word: coalesce({{ abbreviations() }}[word], word)
    ), [])
{%- endmacro %}

{# Every word with a capital, also after a slash. #}
{% macro title_case(column) -%}
    replace(array_to_string(list_transform(
        string_split(replace({{ column }}, '/', ' / '), ' '),
        lambda word: upper(word[1]) || word[2:]
    ), ' '), ' / ', '/')
{%- endmacro %}

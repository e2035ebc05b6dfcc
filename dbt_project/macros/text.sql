{# Abbreviations of the catalogue, word by word, sorted. #}
{% macro abbreviations() -%}
    map {
        'bg': 'bag', 'bkd': 'baked', 'bn': 'bean', 'brkfst': 'breakfast', 'btl': 'bottle', 'btr': 'butter',
        'carb': 'carbonated', 'catfd': 'cat food', 'chix': 'chicken', 'choc': 'chocolate', 'chococlate': 'chocolate',
        'cke': 'cake', 'ckys': 'cookies', 'cleang': 'cleaning', 'cnd': 'canned', 'cndy': 'candy', 'cntrl': 'central',
        'conc': 'concentrate', 'containr': 'container', 'crbntd': 'carbonated', 'crkr': 'crackers', 'crmd': 'creamed',
        'crystl': 'crystal', 'deod': 'deodorant', 'dnr': 'dinner', 'dnrs': 'dinners', 'dogfd': 'dog food',
        'drnk': 'drink', 'drnking': 'drinking', 'drnkng': 'drinking', 'drnks': 'drinks', 'drp': 'drops',
        'drsng': 'dressing', 'dsh': 'dish', 'fd': 'food', 'fds': 'foods', 'fem': 'feminine', 'flav': 'flavored',
        'flvr': 'flavor', 'flvrd': 'flavored', 'frz': 'frozen', 'frzn': 'frozen', 'gds': 'goods',
        'gm': 'general merchandise', 'grnd': 'ground', 'hygn': 'hygiene', 'jce': 'juice', 'lozng': 'lozenges',
        'misc': 'miscellaneous', 'mixs': 'mixes', 'mlt': 'multi', 'mneral': 'mineral', 'mnrl': 'mineral',
        'mx': 'mix', 'mxs': 'mixes', 'oj': 'orange juice', 'pckgd': 'packaged', 'pickld': 'pickled', 'pk': 'pack',
        'pkg': 'package', 'pkgd': 'packaged', 'pkld': 'pickled', 'plstc': 'plastic', 'pnch': 'punch', 'pnt': 'peanut',
        'prem': 'premium', 'pwdr': 'powder', 'pwdrs': 'powders', 'refrgratd': 'refrigerated',
        'refrig': 'refrigerated', 'rts': 'ready to serve', 'sald': 'salad', 'saus': 'sausage', 'sft': 'soft',
        'sgl': 'single', 'sherbts': 'sherbets', 'shlfsh': 'shellfish', 'snks': 'snacks', 'sndwch': 'sandwich',
        'sngl': 'single', 'sply': 'supplies', 'sprd': 'spread', 'srv': 'serve', 'sw': 'sweet', 'swt': 'sweet',
        'syrp': 'syrup', 'tiss': 'tissue', 'trsh': 'trash', 'veg': 'vegetable', 'w': 'with', 'wate': 'water',
        'whl': 'whole', 'whlsm': 'wholesome', 'wt': 'weight', 'wtr': 'water', 'xpctrnt': 'expectorant'
    }
{%- endmacro %}

{# Units of package sizes. #}
{% macro units() -%}
    map {
        'btl': 'bottle', 'ct': 'count', 'ctn': 'carton', 'doz': 'dozen', 'dz': 'dozen', 'fl': 'fluid', 'ft': 'foot',
        'ga': 'gallon', 'gal': 'gallon', 'in': 'inch', 'l': 'liter', 'lb': 'pound', 'ld': 'loads', 'lds': 'loads',
        'ml': 'milliliter', 'oz': 'ounce', 'pc': 'piece', 'pk': 'pack', 'pt': 'pint', 'qt': 'quart', 'sq': 'square',
        'yd': 'yard'
    }
{%- endmacro %}

{# A catalogue text as a list of lower-case words and slashes: other signs and cut-off parentheses are gone, short
   forms are written out; null when nothing is left. #}
{% macro words(column, short_forms) -%}
    nullif(list_transform(
        list_filter(
            string_split(
                regexp_replace(
                    replace(regexp_replace(
                        lower({{ column }}), '\((ex|all othe|incl|under|over)[^)]*\)?|[(][^)]*$', ' ', 'g'
                    ), '/', ' / '),
                    '[^a-z0-9./&%'']+', ' ', 'g'
                ),
                ' '
            ),
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

{# A text as a literal of SQL. #}
{% macro quoted(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{# Overrides dbt's view materialization: creates the view in one statement. dbt's own creates it under another name and
   renames twice, which takes most of the time here. #}
{% materialization view, adapter="duckdb" %}
    {%- set old = load_cached_relation(this) -%}
    {%- set view = this.incorporate(type="view") -%}
    {%- if old and not old.is_view -%}{%- do adapter.drop_relation(old) -%}{%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {% call statement("main") -%}
        {%- if config.get("contract").enforced -%}{{ get_assert_columns_equivalent(sql) }}{%- endif %}
        create or replace view {{ view }} as ({{ sql }})
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({"relations": [view]}) }}
{% endmaterialization %}

-- The time spine of dbt's semantic layer.
select unnest(range(date '1970-01-01', {{ as_of() }}::date, interval 1 day))::date as day

# With the locks of the rollback journal.
cd "$1"
sqlite3 'data.db' <<'END'
create table numbers (value integer, text text);
begin;
insert into numbers select value, 'text ' || value from generate_series(1, 2000);
commit;
create index by_value on numbers (value);
select count(*), sum(value) from numbers;
update numbers set text = 'changed' where value % 10 = 0;
select count(*) from numbers where text = 'changed';
begin;
delete from numbers;
rollback;
select count(*) from numbers;
vacuum;
pragma integrity_check;
END
ls

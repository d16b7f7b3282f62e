"""Asks DuckDB: duck.py FOLDER SQL..., where the tables are folders of FOLDER. Prints the rows as JSON."""

import json
import os
import sys

import duckdb

folder, *statements = sys.argv[1:]
for table in os.listdir(folder):
    duckdb.sql(
        f"CREATE VIEW {table} AS SELECT * FROM read_parquet("
        f"'{folder}/{table}/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    )
json.dump([duckdb.sql(sql).fetchall() for sql in statements], sys.stdout)

"""Runs SQL with DuckDB and prints the rows as JSON: query.py SQL..."""

import json
import sys

import duckdb

answers = [duckdb.sql(sql).fetchall() for sql in sys.argv[1:]]
json.dump(answers, sys.stdout, default=lambda value: list(value) if isinstance(value, bytes) else str(value))

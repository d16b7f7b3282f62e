"""Checks a JSON file against a JSON schema: schema.py SCHEMA FILE. Prints the file."""

import json
import sys

import jsonschema

schema, document = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
jsonschema.validate(document, schema)
json.dump(document, sys.stdout)

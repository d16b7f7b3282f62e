#!/usr/bin/env bash
# Makes the Python environment with the programs that exports are read back by, once per set of versions. The tests look
# for it in the same place (python.ts). PySpark needs Java.
set -euo pipefail
cd "$(dirname "$0")"
place=${TRACE_EXPORT_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/trace-export-tests}
if [[ -x $place/bin/python ]] && cmp -s requirements.txt "$place/requirements.txt"; then exit 0; fi
python3 -m venv --clear "$place"
"$place/bin/pip" install -q --disable-pip-version-check -r requirements.txt
# Last: an environment without it is not whole.
cp requirements.txt "$place/requirements.txt"

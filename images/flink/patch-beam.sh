#!/bin/bash
# Makes Apache Beam 2.48 import without pyarrow: patch-beam.sh VENV. It can be repeated.
# An annotation of Beam's writer of Parquet files names a class of pyarrow, although the import of pyarrow is optional.
set -euo pipefail
sed --in-place 's/(self, writer, table: pa\.Table)/(self, writer, table)/' \
  "${1:?usage: patch-beam.sh VENV}"/lib/python3.11/site-packages/apache_beam/io/parquetio.py

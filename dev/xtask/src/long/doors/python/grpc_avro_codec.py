"""Records as Avro datums, by fastavro; the third argument of the program names their schema."""

import io
import sys

import fastavro

schema = fastavro.schema.load_schema(sys.argv[3])


def written(record):
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, schema, record)
    return datum.getvalue()


def read(datum):
    return fastavro.schemaless_reader(io.BytesIO(datum), schema)

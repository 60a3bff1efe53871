"""The `.kmsg` schema files: one per API, its request and response, and one per family of records. Made by scripts/convert_schemas.py."""

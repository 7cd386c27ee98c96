"""Prepared samples: rows that are checked, the vocabularies of their texts, Parquet."""

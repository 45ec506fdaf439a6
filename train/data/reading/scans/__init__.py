"""One file of a table as SQL: Parquet, and text."""

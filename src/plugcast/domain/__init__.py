"""What are the things? Frozen values of the charging world; standard library and msgspec only."""

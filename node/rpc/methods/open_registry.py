"""open: the attribution registry (filled in when the queries are there)."""

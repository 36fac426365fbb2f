"""Reading for people: records, statements, explanations, exports and what may be erased. Never part of a block."""

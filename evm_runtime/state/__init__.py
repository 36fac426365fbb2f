"""State: accounts, slots and code over a key-value store, and the tries that commit to them."""

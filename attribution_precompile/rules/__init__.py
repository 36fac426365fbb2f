"""The rules as pure functions: text to tokens, windows to credit, fees to shares. No storage, no index."""

"""The contract's methods, by group, and the steps that they share."""

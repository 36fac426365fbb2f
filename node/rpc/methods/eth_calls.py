"""eth: calls that change nothing, and what they would cost."""

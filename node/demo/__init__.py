"""The demo: real text, real contributors, real payments, and every figure checked against a slow reference."""

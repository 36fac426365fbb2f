"""Bytes to requests and answers to bytes: HTTP, access rules, connections."""

"""Reads that several methods share. No method is declared here."""

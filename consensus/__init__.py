"""Tendermint (arXiv 1807.04938) without IO: a pure state machine, its rules, its log, and one trio shell (`engine.py`)."""

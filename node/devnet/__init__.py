"""A local network in one command: N validator processes, funded accounts that everybody knows, one supervisor.

plan.py        what the devnet is: its chain, its nodes, their ports and files
supervisor.py  the processes: fork, wait, write devnet.json, stop
"""

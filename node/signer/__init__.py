"""A validator's key in a process of its own: `server.py` holds it, `client.py` is the node's side, `protocol.py` the words.

The rules are those of `consensus.signer`, and the signer process is the authority: its sign record is what counts. It never
signs bytes that somebody hands it, only votes, proposals and hellos of its own chain that it has put together itself.
"""

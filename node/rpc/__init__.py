"""JSON-RPC over HTTP and WebSocket: what wallets, tools and explorers speak with the node.

A request goes through one file per step: `http.py` or `websocket.py` (bytes to messages), `jsonrpc.py` (messages to calls),
`params.py` (arguments to values), a file of `methods/` (the answer), `format.py` (the answer as JSON).
"""

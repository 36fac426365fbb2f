"""The hardened libp2p host. It carries bytes between peers and knows no rule of the chain.

libp2p's own parts do what is hard to get right and slow to get wrong: keys, PeerIds and the Noise handshake. The layers
around it, where stock 0.8.1 can be crashed, filled up or stalled from outside, are our own and speak the same wire
protocols (multistream-select 1.0, Noise XX, yamux 1.0), so any libp2p node can talk to ours:

    host.py          Host: listens, dials, redials, broadcasts, serves requests       ── the public face
    switch.py        the life of every connection; settling.py which are kept, dialer.py and listener.py
    hello.py         the first stream: who are you
    peer.py          one settled peer: a long-lived stream per channel, its queue, one writer, one reader
    requests.py      request and response, a stream per session
    queue.py         the bounded outgoing queue: priorities and drop keys
    frames.py        4-byte length + payload; caps checked before anything is buffered
    scores.py        faults, scores, time-limited bans
    connection.py    one connection: TCP → Noise → yamux, and who gets its streams
    muxer.py         many streams on one connection: the channel, the clock and the tasks behind yamux.py
    yamux.py         the yamux protocol without IO: bytes in, events out, windows enforced
    stream.py        one stream
    multistream.py   which protocol a stream speaks
    noise.py         encryption and identity, by libp2p
    tcp.py           a buffered socket
    libp2p_parts.py  the only module that imports libp2p (more than a second, so: late)

How each known weakness of the stock host is closed, and where (`tests/unit/p2p/test_attacks.py` attacks each):

| weakness of the stock host                          | here                                                              |
|-----------------------------------------------------|-------------------------------------------------------------------|
| P1 an exception in a stream handler ends the host   | `supervision.guarded` around every task that touches a peer       |
|    a protocol name that is not UTF-8 ends the host  | names are compared as bytes, never decoded (`multistream.py`)     |
| P2 every inbound connect/disconnect leaks a slot    | a place is given back in a `finally` (`switch.py`)                |
| P3 a window update per read starves other streams   | credit goes out only when half the window is due (`yamux.py`)     |
|    a peer that ignores the window fills the memory  | the connection is closed before the bytes are kept (`yamux.py`)   |
| P4 a cancelled write garbles the connection         | one task alone writes to the channel (`muxer.py`)                 |
| P5 `/plaintext/2.0.0` lets anyone pose as any peer  | Noise and yamux are all that is offered (`connection.py`)         |
|    a failed dial blocks the next for 60 s           | no memory of failed dials but a jittered back-off (`dialer.py`)   |
"""

"""What the node says to its peers: blocks, votes, transactions, block sync."""

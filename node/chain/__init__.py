"""The chain as this node runs it: execution behind consensus, and the threads that serve the attribution index."""

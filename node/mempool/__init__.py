"""The mempool: which transactions wait, and how they come in and go out."""

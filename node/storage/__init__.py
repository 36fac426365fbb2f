"""What the node keeps on disk: LevelDB behind a small port, and the chain store on top of it."""

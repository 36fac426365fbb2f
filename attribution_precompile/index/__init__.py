"""The local index over committed content: who holds a window or a vector, and who owns it in a version."""

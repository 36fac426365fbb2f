"""What operators see: metrics, status, logs, the version."""

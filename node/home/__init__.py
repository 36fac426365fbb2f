"""All that lies in the data directory: settings, keys, the last-sign record, the write-ahead log, the lock."""

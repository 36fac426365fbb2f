"""What JSON-RPC methods take and answer: declarations, parameters, schemas, errors, the OpenRPC document."""

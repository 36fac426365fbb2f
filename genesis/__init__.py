"""What every node must agree on: primitives, value types, the wire codec, limits, errors, the chain spec, emission."""

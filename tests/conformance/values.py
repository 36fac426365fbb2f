"""Numbers and bytes as they are written in state tests. All raise ValueError for text that is neither."""


def integer(text: str) -> int:
    """A number in hexadecimal with 0x, or in decimal."""
    value = int(text, 16) if text.startswith("0x") else int(text)
    if value < 0:
        raise ValueError(f"{text} is negative")
    return value


def octets(text: str, size: int | None = None) -> bytes:
    """Bytes in hexadecimal, with or without 0x; of `size` if that is given."""
    data = bytes.fromhex(text.removeprefix("0x"))
    if size is not None and len(data) != size:
        raise ValueError(f"{text} has {len(data)} bytes, expected {size}")
    return data

from typing import Any

class UnpackException(Exception): ...

def packb(o: Any, *, use_bin_type: bool = ...) -> bytes: ...
def unpackb(
    packed: bytes,
    *,
    raw: bool = ...,
    use_list: bool = ...,
    strict_map_key: bool = ...,
    max_map_len: int = ...,
    max_ext_len: int = ...,
    max_array_len: int = ...,
) -> Any: ...

"""The model signer's word that an output is the model's: an EIP-712 signature that `infer` checks.

    domain  name "OpenLedger Attribution", version "1", chainId, verifyingContract 0x…0A00
    type    Inference(uint64 modelId,address payer,bytes32 promptHash,uint32 inputTokens,bytes32 outputHash,
                      uint256 nonce,uint64 deadline)

`payer` is the caller of `infer`, `outputHash` the keccak of the output. A nonce counts once for each model; the deadline
is in seconds, and the block's timestamp may reach it. Signatures are 65 bytes r ‖ s ‖ v with low s and v of 27 or 28, as
wallets' signTypedData writes them.
"""

from typing import Final

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.crypto import recover
from genesis.errors import WireError
from genesis.primitives import Address, Hash32, abi_words, keccak256

DOMAIN_NAME: Final = "OpenLedger Attribution"
DOMAIN_VERSION: Final = "1"
DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
INFERENCE_TYPE: Final = (
    "Inference(uint64 modelId,address payer,bytes32 promptHash,uint32 inputTokens,bytes32 outputHash,"
    "uint256 nonce,uint64 deadline)"
)
_DOMAIN_TYPE_HASH: Final = keccak256(DOMAIN_TYPE.encode())
_INFERENCE_TYPE_HASH: Final = keccak256(INFERENCE_TYPE.encode())


class SignatureError(ValueError):
    """The signature is malformed or not canonical."""


def domain_separator(chain_id: int) -> Hash32:
    """EIP-712's hash of the domain."""
    name, version = keccak256(DOMAIN_NAME.encode()), keccak256(DOMAIN_VERSION.encode())
    return keccak256(abi_words(_DOMAIN_TYPE_HASH, name, version, chain_id, ATTRIBUTION_ADDRESS))


def inference_digest(
    chain_id: int,
    *,
    model_id: int,
    payer: Address,
    prompt_hash: Hash32,
    input_tokens: int,
    output: bytes,
    nonce: int,
    deadline: int,
) -> Hash32:
    """What the model's signer signs."""
    struct_hash = keccak256(
        abi_words(_INFERENCE_TYPE_HASH, model_id, payer, prompt_hash, input_tokens, keccak256(output), nonce, deadline)
    )
    return keccak256(b"\x19\x01" + domain_separator(chain_id) + struct_hash)


def recover_signer(digest: Hash32, signature: bytes) -> Address:
    """Who signed. Raises SignatureError."""
    if len(signature) != 65:
        raise SignatureError(f"a signature has 65 bytes, not {len(signature)}")
    if signature[64] not in (27, 28):
        raise SignatureError(f"v must be 27 or 28, not {signature[64]}")
    try:
        return recover(digest, signature[:64] + bytes([signature[64] - 27]))
    except WireError as error:
        raise SignatureError(str(error)) from None

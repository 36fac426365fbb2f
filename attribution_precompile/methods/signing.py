"""The model signer's word that an output is the model's: an EIP-712 signature that `infer` and `inferVector` check.

    domain  name "OpenLedger Attribution", version "1", chainId, verifyingContract 0x…0A00
    type    Inference(uint64 modelId,address payer,bytes32 promptHash,uint32 inputTokens,bytes32 outputHash,
                      uint256 nonce,uint64 deadline)
            VectorInference(uint64 modelId,address payer,bytes32 ioHash,uint32 inputTokens,uint32 outputTokens,
                            bytes32 queryHash,uint256 nonce,uint64 deadline)

`payer` is the caller, `outputHash` the keccak of the output, `queryHash` that of the query vector. A nonce counts once for each
model; the deadline is in seconds, and the block's timestamp may reach it. Signatures are 65 bytes r ‖ s ‖ v with low s and v
of 27 or 28, as wallets' signTypedData writes them.
"""

from collections.abc import Callable
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Signed
from attribution_precompile.layout import NONCES, Model
from evm_runtime.native import Frame
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.crypto import recover
from genesis.errors import WireError
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, abi_words, keccak256

DOMAIN_NAME: Final = "OpenLedger Attribution"
DOMAIN_VERSION: Final = "1"
DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
INFERENCE_TYPE: Final = (
    "Inference(uint64 modelId,address payer,bytes32 promptHash,uint32 inputTokens,bytes32 outputHash,"
    "uint256 nonce,uint64 deadline)"
)
VECTOR_TYPE: Final = (
    "VectorInference(uint64 modelId,address payer,bytes32 ioHash,uint32 inputTokens,uint32 outputTokens,"
    "bytes32 queryHash,uint256 nonce,uint64 deadline)"
)
_DOMAIN_TYPE_HASH: Final = keccak256(DOMAIN_TYPE.encode())
_INFERENCE_TYPE_HASH: Final = keccak256(INFERENCE_TYPE.encode())
_VECTOR_TYPE_HASH: Final = keccak256(VECTOR_TYPE.encode())


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
    return _typed(chain_id, struct_hash)


def vector_digest(
    chain_id: int,
    *,
    model_id: int,
    payer: Address,
    io_hash: Hash32,
    input_tokens: int,
    output_tokens: int,
    query: bytes,
    nonce: int,
    deadline: int,
) -> Hash32:
    """What the model's signer signs for an inference by DOT, whose output stays off chain."""
    tokens = (input_tokens, output_tokens)
    words = abi_words(_VECTOR_TYPE_HASH, model_id, payer, io_hash, *tokens, keccak256(query), nonce, deadline)
    return _typed(chain_id, keccak256(words))


def _typed(chain_id: int, struct_hash: Hash32) -> Hash32:
    return keccak256(b"\x19\x01" + domain_separator(chain_id) + struct_hash)


def check_signature(frame: Frame, model_id: int, model: Model, signed: Signed, digest: Callable[[], Hash32]) -> None:
    """Where the model names a signer: its signature, in time, with a nonce that is used up by this."""
    if model.signer == ZERO_ADDRESS:
        if signed.signature:
            raise d.BAD_SIGNATURE("the model names no signer: leave the signature empty")
        return
    frame.charge(gas.SIGNATURE, "signature")
    if frame.timestamp > signed.deadline:
        raise d.SIGNATURE_EXPIRED(signed.deadline, frame.timestamp)
    try:
        signer = recover_signer(digest(), signed.signature)
    except SignatureError as error:
        raise d.BAD_SIGNATURE(str(error)) from None
    if signer != model.signer:
        raise d.BAD_SIGNATURE("not by the model's signer")
    word, bit = signed.nonce >> 8, 1 << (signed.nonce & 0xFF)
    used = NONCES.get(frame.storage, model_id, word)
    if used & bit:
        raise d.NONCE_USED(model_id, signed.nonce)
    NONCES.set(frame.storage, used | bit, model_id, word)


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

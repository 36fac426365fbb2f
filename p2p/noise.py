"""Encryption and identity: libp2p's Noise XX handshake, then its cipher over our own framing.

After the handshake both ends know each other's PeerId, proven by a signature over the Noise key. Messages are a 2-byte
length and up to 65,535 bytes of ciphertext.
"""

from typing import Final

import trio
from multiaddr import Multiaddr

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.identity import Identity, libp2p_id, text_of_id
from p2p.libp2p_parts import (
    ConnectionType,
    EncryptedMsgReadWriter,
    IRawConnection,
    NoiseTransport,
    PeerIDMismatchesPubkey,
    SecureSession,
    x25519,
)
from p2p.tcp import BufferedSocket

PROTOCOL: Final = "/noise"
_PLAINTEXT_BYTES_MAX: Final = 65_535 - 16
_HANDSHAKE_BYTES_MAX: Final = 2048
"""Enough for Ed25519 and secp256k1 keys. It keeps out RSA keys so large that checking one signature stalls the node."""
_MESSAGES_PER_CHECKPOINT: Final = 64


class SecureChannel:
    """Bytes to and from one authenticated peer. One task reads and one writes."""

    def __init__(self, socket: BufferedSocket, cipher: EncryptedMsgReadWriter, peer_id: str) -> None:
        self.peer_id = peer_id
        self._socket = socket
        self._cipher = cipher
        self._plain = bytearray()

    async def receive(self) -> bytes:
        """The next bytes, at least one. Raises ConnectionLost; ProtocolFault for a message that does not authenticate."""
        await self._decrypt_more()
        data = bytes(self._plain)
        self._plain.clear()
        return data

    async def read_exactly(self, count: int) -> bytes:
        while len(self._plain) < count:
            await self._decrypt_more()
        data = bytes(self._plain[:count])
        del self._plain[:count]
        return data

    async def write(self, data: bytes) -> None:
        """Raises ConnectionLost. Never cancel a write and go on: only the connection's writer calls this."""
        messages = []
        for start in range(0, len(data), _PLAINTEXT_BYTES_MAX):
            sealed = self._cipher.encrypt(data[start : start + _PLAINTEXT_BYTES_MAX])
            messages += [len(sealed).to_bytes(2, "big"), sealed]
        await self._socket.write(b"".join(messages))

    def close(self) -> None:
        self._socket.close()

    async def _decrypt_more(self) -> None:
        """Decrypt what is buffered (waiting for one message if there is none) until there is at least a byte more."""
        before, messages = len(self._plain), 0
        while True:
            await self._socket.wait_for(2)
            buffered = self._socket.buffered
            length = buffered[0] << 8 | buffered[1]
            if len(buffered) < length + 2 and len(self._plain) > before:
                return
            await self._socket.wait_for(length + 2)
            try:
                self._plain += self._cipher.decrypt(self._socket.take(length + 2)[2:])
            except Exception as error:  # the library's own exception types, of several layers
                raise ProtocolFault(
                    f"an encrypted message that does not authenticate ({type(error).__name__})"
                ) from None
            messages += 1
            if messages % _MESSAGES_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            if len(self._plain) > before and (len(self._socket.buffered) < 2 or len(self._plain) >= 65_536):
                return


async def secure(socket: BufferedSocket, identity: Identity, expected_peer_id: str | None) -> SecureChannel:
    """Run the handshake: as the dialer if `expected_peer_id` is given, which the other side must prove, else as listener.

    Raises ConnectionLost or ProtocolFault. The caller sets the time-out.
    """
    transport = NoiseTransport(identity.key_pair, noise_privkey=x25519.create_new_key_pair().private_key)
    connection = _HandshakeConnection(socket, is_initiator=expected_peer_id is not None)
    try:
        if expected_peer_id is None:
            session = await transport.secure_inbound(connection)
        else:
            session = await transport.secure_outbound(connection, libp2p_id(expected_peer_id))
    except (ConnectionLost, ProtocolFault):
        raise
    except PeerIDMismatchesPubkey:
        raise ProtocolFault(
            f"another peer than {expected_peer_id} answers there; is the PeerId at the end of its address the right one?"
        ) from None
    except Exception as error:  # libp2p, noise, nacl, protobuf and cryptography each have their own
        raise ProtocolFault(f"the Noise handshake failed: {type(error).__name__}") from None
    if not isinstance(session, SecureSession):
        raise ProtocolFault("the Noise handshake gave no session")
    return SecureChannel(socket, session.conn, text_of_id(session.get_remote_peer()))


class _HandshakeConnection(IRawConnection):
    """What libp2p's handshake reads from and writes to; it refuses to read more than a handshake needs."""

    def __init__(self, socket: BufferedSocket, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self._socket = socket
        self._left = _HANDSHAKE_BYTES_MAX

    async def read(self, n: int | None = None) -> bytes:
        if n is None or n > self._left:
            raise ProtocolFault(f"a Noise handshake of more than {_HANDSHAKE_BYTES_MAX} bytes")
        self._left -= n
        return await self._socket.read_exactly(n)

    async def write(self, data: bytes) -> None:
        await self._socket.write(data)

    async def close(self) -> None:
        self._socket.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._socket.remote()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return []

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT

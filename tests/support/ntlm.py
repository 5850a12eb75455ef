"""How OPL proves that it knows a password: NTLM, version 1."""

from Crypto.Cipher import DES
from Crypto.Hash import MD4


def ntlm_proof(password: str, challenge: bytes) -> bytes:
    """The 24 bytes that answer a server's challenge of 8 bytes."""
    key = MD4.new(password.encode("utf-16-le")).digest() + bytes(5)
    parts = (_with_parity(key[place : place + 7]) for place in (0, 7, 14))
    return b"".join(DES.new(part, DES.MODE_ECB).encrypt(challenge) for part in parts)


def _with_parity(key: bytes) -> bytes:
    """Seven bytes spread over eight, whose last bits DES ignores."""
    bits = int.from_bytes(key)
    return bytes((bits >> 49 - 7 * place & 0x7F) << 1 for place in range(8))

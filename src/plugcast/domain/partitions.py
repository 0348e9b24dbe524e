"""Which partition of a topic a key belongs to: Kafka's own rule, so that every log puts a station in the same one."""

from __future__ import annotations

from typing import Final

_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_R: Final = 24
_SEED: Final = 0x9747B28C


def murmur2(key: bytes) -> int:
    """MurmurHash2 (Austin Appleby, 32 bits) with the seed of Kafka's clients, as an unsigned number.

    >>> murmur2(b"foobar") - 2**32  # Kafka's tests write it as Java does, signed
    -790332482
    """
    whole = len(key) & ~3
    value = _SEED ^ len(key)
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        word = (word ^ word >> _R) * _M & _MASK
        value = value * _M & _MASK ^ word
    if rest := key[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: murmur2 without its sign bit, modulo the number of partitions.

    >>> partition_of(b"foobar", 10)
    6
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions

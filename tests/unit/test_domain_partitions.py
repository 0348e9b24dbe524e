"""Keys go where Kafka's own clients put them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.domain.partitions import murmur2, partition_of

# org.apache.kafka.common.utils.UtilsTest.testMurmur2, and librdkafka's rdmurmur2.c for the last two
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
    b"": 275646681,
    b"kafka": -798503068,
}


@pytest.mark.parametrize(("key", "hashed"), VECTORS.items())
def test_murmur2_gives_what_kafka_publishes(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed % 2**32


@given(st.binary(max_size=64), st.integers(1, 1_000))
def test_a_key_always_has_the_same_partition_among_those_there_are(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(bytes(key), partitions) == partition_of(key, partitions)


def test_a_negative_hash_loses_its_sign_bit_and_is_not_mirrored() -> None:
    assert partition_of(b"foobar", 10) == (-790332482 & 0x7FFFFFFF) % 10 == 6

"""The keys of mesh 1.4, shared by the tests of this room."""

from __future__ import annotations

from typing import Final, NamedTuple


class KeyVector(NamedTuple):
    """One row of the table: all in hex but the id."""

    seed: str
    public: str
    humd_id: str


ZERO: Final = KeyVector(
    "00" * 32,
    "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
    "humd_139e3940e64b5491722088d9a0d741628fc826e09475d341a780acde3c4b8070",
)
RISING: Final = KeyVector(
    bytes(range(32)).hex(),
    "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
    "humd_56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
)
RFC8032: Final = KeyVector(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "humd_21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
)
ONES: Final = KeyVector(
    "ff" * 32,
    "76a1592044a6e4f511265bca73a604d90b0529d1df602be30a19a9257660d1f5",
    "humd_af822958f2d75afb91f8a8f4da253230d63bebf8c3ce8fa9a2e275c2cd35456e",
)
KEYS: Final = (ZERO, RISING, RFC8032, ONES)

"""Keys, ids, addresses and what a key signs."""

from ensemble.identity.addr import LISTENED, MAX_HINT, MAX_HINTS, SECURE_SCHEMES, BadAddr, BadHint, Hint, HumdAddr
from ensemble.identity.certificate import BadCertificate, carried, carrier_of, certificate_of, fingerprint, leaf_id
from ensemble.identity.humd_id import BadHex, BadHumdId, HumdId, Role, UnknownPrefix, WrongLength
from ensemble.identity.key import SEED_LENGTH, SIGNATURE_LENGTH, BadSeed, HumdKey, verify
from ensemble.identity.keyfile import (
    KeyFileError,
    KeyFileExists,
    KeyFileMissing,
    load,
    load_or_mint,
    mint,
    save,
)
from ensemble.identity.placing import (
    StrPath,
    leftovers,
    make_folders,
    make_temporary,
    put_in_place,
    remove_leftovers,
    sync_folder,
)
from ensemble.identity.quoting import quoted, tamed
from ensemble.identity.signing import UnsignableText, Use, signed_bytes
from ensemble.identity.statements import (
    MAX_CHAIN,
    BadStatement,
    Revocation,
    Statement,
    Succession,
    revoke,
    statement_from,
    succeed,
)
from ensemble.identity.users import others_write, refuse_strangers

__all__ = [
    "LISTENED",
    "MAX_CHAIN",
    "MAX_HINT",
    "MAX_HINTS",
    "SECURE_SCHEMES",
    "SEED_LENGTH",
    "SIGNATURE_LENGTH",
    "BadAddr",
    "BadCertificate",
    "BadHex",
    "BadHint",
    "BadHumdId",
    "BadSeed",
    "BadStatement",
    "Hint",
    "HumdAddr",
    "HumdId",
    "HumdKey",
    "KeyFileError",
    "KeyFileExists",
    "KeyFileMissing",
    "Revocation",
    "Role",
    "Statement",
    "StrPath",
    "Succession",
    "UnknownPrefix",
    "UnsignableText",
    "Use",
    "WrongLength",
    "carried",
    "carrier_of",
    "certificate_of",
    "fingerprint",
    "leaf_id",
    "leftovers",
    "load",
    "load_or_mint",
    "make_folders",
    "make_temporary",
    "mint",
    "others_write",
    "put_in_place",
    "quoted",
    "refuse_strangers",
    "remove_leftovers",
    "revoke",
    "save",
    "signed_bytes",
    "statement_from",
    "succeed",
    "sync_folder",
    "tamed",
    "verify",
]

"""Content keys: how the key of an encrypted package reaches the worker without being stored.

A key that stands in a request is encrypted with the deployment's KMS key before anything else happens, so that records,
events, logs, batches and the items of Idempotency-Keys hold it sealed only. A secret's name is stored as it is.
"""

import base64
from functools import cached_property
from typing import Any

from msgspec import UNSET, structs

from elasticrecode.access.callers import Caller
from elasticrecode.aws.clients import client, refusals
from elasticrecode.errors import Fault, Invalid
from elasticrecode.jobs.job import encryption_of, key_context
from elasticrecode.media.formats import KEY_PREFIX
from elasticrecode.media.profiles import Profile

SECRET_POINTER = "/profile/package/encryption/secretId"  # noqa: S105 - a place in a request


class Sealer:
    """Seals the keys of profiles. `key` is the ARN of the deployment's KMS key."""

    def __init__(self, key: str) -> None:
        self._key = key

    @cached_property
    def _kms(self) -> Any:
        return client("kms")

    def sealed(self, profile: Profile, user_id: str, caller: Caller) -> Profile:
        """The profile without its key, which it has sealed instead.

        Raises Invalid where it names a secret that is not the user's and the caller is no operator, Unavailable when
        AWS refuses.
        """
        package, encryption = profile.package, encryption_of(profile)
        if not package or not encryption:
            return profile
        own = f"{KEY_PREFIX}{user_id}/"
        if encryption.secretId and not encryption.secretId.startswith(own) and not caller.operator:
            raise Invalid([Fault(SECRET_POINTER, f"must begin with {own}: other secrets are for operators")])
        if not encryption.key:
            return profile
        with refusals("sealing the key of a package"):
            answer = self._kms.encrypt(
                KeyId=self._key, Plaintext=bytes.fromhex(encryption.key), EncryptionContext=key_context(user_id)
            )
        sealed = base64.b64encode(answer["CiphertextBlob"]).decode()
        safe = structs.replace(encryption, key=UNSET, sealedKey=sealed)
        return structs.replace(profile, package=structs.replace(package, encryption=safe))

"""Secrets that everybody knows: the keys of examples, of tutorials and of this project's own documentation.

A list can hold only what is common; it stops what was copied and never changed, not what is weak.
"""

from __future__ import annotations

import re

from gate.errors import ConfigError

STAND_INS = ("EMPTY", "none", "unused", "null", "no-key", "not-needed", "not-used", "dummy", "ollama", "lm-studio")
"""What people write where a server on their own machine asks for no key: fine towards such a server, no client key."""
EXAMPLES = ("gate-example-0000000000000000000000000000000000",)
"""Every key that stands in the documentation of this project."""
_COMMON = """
sk-1234 sk-12345 sk-123456 sk-1234567890 sk-test sk-xxx sk-xxxx sk-... sk-… sk-key sk-test-key sk-test-1234 sk-fake
sk-dummy sk-example sk-local sk-master sk-anything sk-proj-1234 sk-no-key-required sk-your-key sk-your-api-key
sk-your-key-here sk-changeme
test test-key test_key testkey testing test123 test-api-key my-test-key fake fake-key demo demo-key sample example
example-key foo foobar gate gate-test gate-key gate-example
changeme change-me change_me changeit change-this replace-me replaceme todo fixme insert-key-here insert-your-key-here
secret my-secret mysecret supersecret super-secret topsecret top-secret s3cr3t
password passw0rd password1 password123 pass letmein admin root user default
your-api-key your_api_key your-key your-key-here your-api-key-here your_openai_api_key your-openai-api-key
<your-api-key> <your_api_key> api-key api_key apikey my-api-key my-key mykey key token token-abc123
openai_api_key $openai_api_key
abc abc123 abcd1234 1234 12345 123456 12345678 123456789 1234567890 0000 xxx xxxx xxxxxxxx
"""
WELL_KNOWN = (*EXAMPLES, *_COMMON.split())
_FOLDED = frozenset(each.casefold() for each in WELL_KNOWN)
_FORM = re.compile(
    r"<[^>]*>|\$\{?\w+\}?|(sk-|gate-)?(your|my|the|insert|put|paste|enter)[-_ ].*(key|token|secret)([-_ ]here)?"
    r"|gate-example.*|(sk-|gate-)?(?P<one>.)(?P=one){2,}",
    re.IGNORECASE | re.DOTALL,
)
"""Besides: ``<key>``, ``$KEY``, ``your-…-key``, and one character again and again."""


def is_well_known(secret: str) -> bool:
    return secret.casefold() in _FOLDED or _FORM.fullmatch(secret) is not None


def refuse_well_known(secret: str, where: str) -> None:
    """Raises `ConfigError` for a secret that everybody knows; the message names ``where`` it stands, never the secret.

    What stands in for a key towards a server that asks for none (``EMPTY``, ``none``, ``unused`` …) is let through.
    """
    if is_well_known(secret):
        raise ConfigError(f"{where} holds an example or a well-known key: put your own there")

"""Which tests of foreign suites wait for an API that pykbroker does not serve yet.

It is no excuse once the API is served: then the test has to pass.
"""

import re

WAITING: dict[str, dict[str, tuple[str, ...]]] = {}
"""Suite -> the beginning of a test's name (a regular expression) -> the APIs that it needs."""


def waits_for(suite: str, test: str, served: set[str]) -> list[str]:
    """The APIs that this test needs, of those that are not served."""
    for pattern, apis in WAITING.get(suite.partition(" ")[0], {}).items():
        if re.match(pattern, test):
            return [api for api in apis if api not in served]
    return []

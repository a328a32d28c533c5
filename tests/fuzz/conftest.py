"""How much is tried: a little in the suite, and as much as RMPSAM_FUZZ_EXAMPLES says."""

import os

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="requirements/test-fuzz.txt")

EXAMPLES = int(os.environ.get("RMPSAM_FUZZ_EXAMPLES", "40"))
hypothesis.settings.register_profile(
    "rmpsam",
    max_examples=EXAMPLES,
    deadline=None,  # machines are busy
    # The suite tries the same every time; a long run tries something new.
    derandomize=EXAMPLES <= 100,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("rmpsam")

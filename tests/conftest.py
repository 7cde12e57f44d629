"""Settings that hold for every test."""

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples at every run, so that what lands is what was tested; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# Tests on the shared real data are an extra set: .ci/run runs it where those data are.
collect_ignore = [] if "LMKIT_SHARED" in os.environ else ["shared"]


@pytest.fixture(autouse=True)
def arithmetic() -> Iterator[None]:
    """What a test computes in ends with it: commands that run in this process set the policy of all layers to come."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    """What the tests of a file built is given back with it: programs and tensors of all of them together are tens of gigabytes."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
        # TensorFlow keeps the gradient of each traced tf.custom_gradient for ever, and with it the graph that it stands in
        gradients = sys.modules["tensorflow.python.framework.ops"].gradient_registry._registry
        for name in [name for name in gradients if name.startswith("CustomGradient-")]:
            del gradients[name]
        gc.collect()
        with contextlib.suppress(AttributeError):  # of the GNU library alone
            ctypes.CDLL(None).malloc_trim(0)

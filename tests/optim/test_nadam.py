from __future__ import annotations

import numpy as np
from helpers import assert_same_bits

from fastmlp.optim.nadam import _product, _products


def test_product_is_a_function_of_the_step_alone():
    """In whatever order and company steps are asked for; right to the end, where it is next to nothing."""
    for beta1, decay in ((0.9, 0.004), (0.9, 0.0), (0.999, 0.1), (0.0, 0.004), (1e-9, 1.0)):
        t = np.arange(1, 3000)
        expected = np.cumprod(beta1 * (1 - 0.5 * 0.96 ** (t * decay)))
        _products.cache_clear()
        singles = [_product(np.array([step]), beta1, decay).item() for step in (1, 2, 3, 64, 65, 2999, 5)]
        whole = _product(t, beta1, decay)
        assert_same_bits(np.array(singles), whole[np.array([1, 2, 3, 64, 65, 2999, 5]) - 1])
        np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-17)
        assert _product(np.array([10**12]), beta1, decay).item() < 1e-17

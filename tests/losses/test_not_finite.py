"""Values that are not finite, and precisions that are mixed, in the losses that hand F to a kernel as it is."""

import numpy as np
import pytest

from tests.losses.differences import batch
from varpro.errors import NonFiniteError
from varpro.losses import FeedBackward, IntraClassVariance, InwardScale

CENTROIDS = np.zeros((3, 5))
LOSSES = {
    "eliminated": lambda f, y: IntraClassVariance()(f, y),
    "learned": lambda f, y: IntraClassVariance(mode="learned")(f, y, C=CENTROIDS),
    "proximal": lambda f, y: IntraClassVariance(mode="proximal")(f, y, C=CENTROIDS),
    **{
        f"{dist} {direction} {eliminate}": lambda f,
        y,
        back=FeedBackward(  # noqa: B008
            dist=dist, direction=direction, eliminate=eliminate
        ): back(f, y, **({} if back.eliminate else {"W": CENTROIDS.T + 1}))
        for dist in ("softmax", "l1", "l2")
        for direction in ("pq", "qp")
        for eliminate in (False, True)
    },
    "sphere": lambda f, y: InwardScale()(f),
    "back from the sphere": lambda f, y: InwardScale().vjp(np.ones_like(f), f),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_place_is_named(loss, value, dtype):
    f, y = batch(9, 5, 3)
    f = f.astype(dtype)
    f[4, 3] = value
    with pytest.raises(NonFiniteError, match=r"\[4, 3\]"):
        LOSSES[loss](f, y)


@pytest.mark.parametrize(("of_x", "of_g"), [(np.float32, np.float64), (np.float64, np.float32), (np.float32, int)])
def test_a_gradient_in_another_precision_than_the_features(of_x, of_g):
    x, g = batch(6, 5, 2)[0].astype(of_x), (4 * batch(6, 5, 3)[0]).astype(of_g)
    found = InwardScale(2.0).vjp(x, g)
    expected = InwardScale(2.0).vjp(x.astype(float), g.astype(float))
    assert found.dtype == of_x
    np.testing.assert_allclose(found, expected, atol=np.finfo(of_x).eps * np.abs(expected).max())

"""An RPC of a made-up satellite over a city, for tests."""

import numpy as np

from refbench.geometry.rpc import RPC


def example_rpc(crs=None, seed=0):
    """Return an RPC with small random higher-order terms; 25 km across, half a metre a pixel."""
    rng = np.random.default_rng(seed)
    cubics = {name: rng.normal(0, 1e-5, 20) for name in ("line_num", "line_den", "samp_num", "samp_den")}
    cubics["line_num"][:4] = [0.002, -0.05, -1.08, 0.021]
    cubics["samp_num"][:4] = [-0.004, 1.03, 0.03, -0.034]
    cubics["line_den"][:4] = cubics["samp_den"][:4] = [1.0, 1e-3, -7e-4, 4e-4]
    offsets = {"line_off": 12000.5, "samp_off": 9800.0, "lat_off": 48.06, "long_off": 10.68, "height_off": 520.0}
    scales = {
        "line_scale": 12001.0, "samp_scale": 9801.0, "lat_scale": 0.09, "long_scale": 0.12, "height_scale": 510.0,
    }  # fmt: skip
    return RPC(**offsets, **scales, **{f"{name}_coeff": value for name, value in cubics.items()}, crs=crs)

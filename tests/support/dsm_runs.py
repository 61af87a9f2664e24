"""Runs of diffrender's DSM mode on a small hill, and the pieces that its tests look at."""

from dataclasses import replace

import numpy as np
from hill_scene import GRID, GSD, hill
from makers import predicted_by
from whole_view import ground_view

from refbench import Context
from refbench_diffrender.config import DiffrenderConfig
from refbench_diffrender.dsm_config import DsmConfig
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
from refbench_diffrender.method import Diffrender
from refbench_diffrender.rasteriser.rasteriser import rasteriser

CONFIG = DiffrenderConfig(
    mode="dsm", tensorboard=False, outputs=("confidence",), dsm=DsmConfig(steps=50, rpc_bias=False)
)
FEW = replace(CONFIG, dsm=DsmConfig(steps=6, rpc_bias=False))


def refined(scene, config=CONFIG, **context):
    method, context = Diffrender(config), Context(seed=3, **context)
    tiled = method.tile_method(scene)
    return method.refine(scene, context) if tiled is None else predicted_by(tiled, scene, context)


def reduced(view, pixels_per_cell):
    return view.reduced(view.reduction(GSD, vertices()[0], pixels_per_cell))


def error(dsm):
    return float(np.abs(dsm.heights - hill().heights).mean())


def vertices(heights=None):
    x, y = GRID.centres()
    return np.stack([x, y, hill().heights.astype(float) if heights is None else heights], -1).reshape(-1, 3)


def block(scene, config=FEW, draw="torch", heights=None):
    start = np.asarray(scene.dsm.read().heights if heights is None else heights, float)
    views = [ground_view(view) for view in scene.views.values()]
    return DsmRefinement(start, np.ones(start.shape, bool), GRID, views, config, rasteriser(draw))

"""A plugin whose record module imports numpy at once: it breaks the import budget alone."""

import numpy as np

from refbench import Gives, MethodRecord, Need, TileMethod, hookimpl


class Heavy(TileMethod):
    def __init__(self, config, weights):
        pass

    def refine_tiles(self, batch, context):
        return np.array(batch.dsm)


@hookimpl
def refbench_methods():
    return [MethodRecord("heavy", "heavy_record:Heavy", "heavy", (Need.DSM,), (Gives.DSM,), official_licence="")]

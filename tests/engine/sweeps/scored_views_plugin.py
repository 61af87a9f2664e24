"""A method without a DSM: the depth maps of a scene's views raised by half a metre, and their images."""

import numpy as np

from refbench import Gives, MethodRecord, Need, Prediction, hookimpl


class Views:
    def __init__(self, config, weights):
        del config, weights

    def refine(self, scene, context):
        names = sorted(name for name in scene.views if name.startswith("uav"))[:2]
        depths = {n: scene.views[n].depth.read().pixels[0] + np.float32(0.5) for n in names}
        images = {}
        for name in names:
            image = scene.views[name].image.read().pixels[:3].astype(np.float32) / 255
            image[:, :10] = np.nan
            images[name] = np.clip(image + np.float32(0.1), 0, 1)
        note = context.scratch / "track.txt"
        note.write_text("kept")
        return Prediction(depths=depths, views=images, files={"track": note})


@hookimpl
def refbench_methods():
    return [
        MethodRecord(
            name="lifted-views",
            target=f"{__name__}:Views",
            summary="Depths half a metre too far.",
            needs=(Need.VIEWS, Need.DEPTHS),
            gives=(Gives.DEPTHS,),
            config=None,
        )
    ]

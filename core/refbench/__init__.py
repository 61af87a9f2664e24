"""refbench: refine stereo DSMs with interchangeable methods and score them on the same ground."""

from refbench.contracts.lazy import lazy_names

__version__ = "0.1.0"

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "Context": "refbench.contracts.method",
        "DSM": "refbench.contracts.raster",
        "Gives": "refbench.contracts.need",
        "Grid": "refbench.contracts.grid",
        "Image": "refbench.contracts.raster",
        "ImporterRecord": "refbench.registry.records",
        "InputError": "refbench.contracts.errors",
        "Mask": "refbench.contracts.raster",
        "Method": "refbench.contracts.method",
        "MethodRecord": "refbench.registry.records",
        "Need": "refbench.contracts.need",
        "PointCloud": "refbench.contracts.points",
        "Prediction": "refbench.contracts.method",
        "RefbenchError": "refbench.contracts.errors",
        "Scene": "refbench.contracts.scene",
        "TileBatch": "refbench.contracts.tiles",
        "TileMethod": "refbench.contracts.method",
        "TilePlan": "refbench.contracts.tiles",
        "View": "refbench.contracts.scene",
        "Window": "refbench.contracts.grid",
        "evaluate": "refbench.evaluation.evaluate",
        "hookimpl": "refbench.registry.hookspecs",
        "load_scene": "refbench.scenes.scene_file",
    },
)

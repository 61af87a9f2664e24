"""refbench: refine stereo DSMs with interchangeable methods and score them on the same ground."""

from typing import TYPE_CHECKING

from refbench.contracts.lazy import lazy_names
from refbench.version import __version__ as __version__

if TYPE_CHECKING:
    from refbench.api import BenchResult as BenchResult
    from refbench.api import bench as bench
    from refbench.api import results_frame as results_frame
    from refbench.api import run as run
    from refbench.contracts.errors import InputError as InputError
    from refbench.contracts.errors import RefbenchError as RefbenchError
    from refbench.contracts.grid import Grid as Grid
    from refbench.contracts.grid import Window as Window
    from refbench.contracts.method import Context as Context
    from refbench.contracts.method import Method as Method
    from refbench.contracts.method import Prediction as Prediction
    from refbench.contracts.method import TileMethod as TileMethod
    from refbench.contracts.need import Gives as Gives
    from refbench.contracts.need import Need as Need
    from refbench.contracts.points import PointCloud as PointCloud
    from refbench.contracts.raster import DSM as DSM
    from refbench.contracts.raster import Image as Image
    from refbench.contracts.raster import Mask as Mask
    from refbench.contracts.scene import Scene as Scene
    from refbench.contracts.scene import View as View
    from refbench.contracts.tiles import TileBatch as TileBatch
    from refbench.contracts.tiles import TilePlan as TilePlan
    from refbench.evaluation.evaluate import evaluate as evaluate
    from refbench.registry.hookspecs import hookimpl as hookimpl
    from refbench.registry.records import AssessorRecord as AssessorRecord
    from refbench.registry.records import ImporterRecord as ImporterRecord
    from refbench.registry.records import MethodRecord as MethodRecord
    from refbench.registry.records import Reported as Reported
    from refbench.registry.records import ReporterRecord as ReporterRecord
    from refbench.registry.records import Score as Score
    from refbench.registry.records import VerbRecord as VerbRecord
    from refbench.scenes.scene_yaml import load_scene as load_scene


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "BenchResult": "refbench.api",
        "AssessorRecord": "refbench.registry.records",
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
        "Reported": "refbench.registry.records",
        "ReporterRecord": "refbench.registry.records",
        "Scene": "refbench.contracts.scene",
        "Score": "refbench.registry.records",
        "TileBatch": "refbench.contracts.tiles",
        "TileMethod": "refbench.contracts.method",
        "TilePlan": "refbench.contracts.tiles",
        "VerbRecord": "refbench.registry.records",
        "View": "refbench.contracts.scene",
        "Window": "refbench.contracts.grid",
        "bench": "refbench.api",
        "evaluate": "refbench.evaluation.evaluate",
        "hookimpl": "refbench.registry.hookspecs",
        "load_scene": "refbench.scenes.scene_yaml",
        "results_frame": "refbench.api",
        "run": "refbench.api",
    },
)

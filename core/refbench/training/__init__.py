"""Training: loops that learnt and optimising methods share, on Lightning Fabric.

Names are loaded on use: torch and Fabric are optional extras, and importing this package costs nothing.
"""

from typing import TYPE_CHECKING

from refbench.contracts.lazy import lazy_names

if TYPE_CHECKING:
    from refbench.training.learnt import StoredModel as StoredModel
    from refbench.training.learnt import Trained as Trained
    from refbench.training.learnt import filled as filled
    from refbench.training.learnt import for_fewer_inputs as for_fewer_inputs
    from refbench.training.learnt import read_stored as read_stored
    from refbench.training.learnt import take_best as take_best
    from refbench.training.loop import train as train
    from refbench.training.settings import Precision as Precision
    from refbench.training.settings import TrainPrecision as TrainPrecision
    from refbench.training.settings import TrainSettings as TrainSettings
    from refbench.training.task import CheckpointFiles as CheckpointFiles
    from refbench.training.task import TrainState as TrainState
    from refbench.training.task import TrainTask as TrainTask
    from refbench.training.task import initialised as initialised

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "CheckpointFiles": "refbench.training.task",
        "Precision": "refbench.training.settings",
        "StoredModel": "refbench.training.learnt",
        "TrainPrecision": "refbench.training.settings",
        "TrainSettings": "refbench.training.settings",
        "TrainState": "refbench.training.task",
        "TrainTask": "refbench.training.task",
        "Trained": "refbench.training.learnt",
        "filled": "refbench.training.learnt",
        "for_fewer_inputs": "refbench.training.learnt",
        "initialised": "refbench.training.task",
        "read_stored": "refbench.training.learnt",
        "take_best": "refbench.training.learnt",
        "train": "refbench.training.loop",
    },
)

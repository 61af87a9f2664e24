"""Training: loops that learnt and optimising methods share, on Lightning Fabric.

Names are loaded on use: torch and Fabric are optional extras, and importing this package costs nothing.
"""

from typing import TYPE_CHECKING

from refbench.contracts.lazy import lazy_names

if TYPE_CHECKING:
    from refbench.training.checkpoint_task import CheckpointTask as CheckpointTask
    from refbench.training.learnt import StoredModel as StoredModel
    from refbench.training.learnt import Trained as Trained
    from refbench.training.learnt import filled as filled
    from refbench.training.learnt import first_network as first_network
    from refbench.training.learnt import for_fewer_inputs as for_fewer_inputs
    from refbench.training.learnt import read_stored as read_stored
    from refbench.training.learnt import take_best as take_best
    from refbench.training.loop import train as train
    from refbench.training.per_scene import Optimisation as Optimisation
    from refbench.training.per_scene import Progress as Progress
    from refbench.training.per_scene import StateFile as StateFile
    from refbench.training.per_scene import digest_of as digest_of
    from refbench.training.per_scene import optimise as optimise
    from refbench.training.settings import Precision as Precision
    from refbench.training.settings import TrainPrecision as TrainPrecision
    from refbench.training.settings import TrainSettings as TrainSettings
    from refbench.training.step_log import StepLog as StepLog
    from refbench.training.task import CheckpointFiles as CheckpointFiles
    from refbench.training.task import TrainState as TrainState
    from refbench.training.task import TrainTask as TrainTask
    from refbench.training.task import initialised as initialised

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CheckpointFiles": "refbench.training.task",
        "CheckpointTask": "refbench.training.checkpoint_task",
        "Optimisation": "refbench.training.per_scene",
        "Precision": "refbench.training.settings",
        "Progress": "refbench.training.per_scene",
        "StateFile": "refbench.training.per_scene",
        "StepLog": "refbench.training.step_log",
        "StoredModel": "refbench.training.learnt",
        "TrainPrecision": "refbench.training.settings",
        "TrainSettings": "refbench.training.settings",
        "TrainState": "refbench.training.task",
        "TrainTask": "refbench.training.task",
        "Trained": "refbench.training.learnt",
        "digest_of": "refbench.training.per_scene",
        "filled": "refbench.training.learnt",
        "first_network": "refbench.training.learnt",
        "for_fewer_inputs": "refbench.training.learnt",
        "initialised": "refbench.training.task",
        "optimise": "refbench.training.per_scene",
        "read_stored": "refbench.training.learnt",
        "take_best": "refbench.training.learnt",
        "train": "refbench.training.loop",
    },
)

"""Depth of a single image by a monocular estimator of the transformers library, where that is installed."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from refbench.contracts.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGES = ("transformers", "PIL")


def estimated_depth(image: NDArray[np.float32], estimator: str) -> NDArray[np.float32]:
    """Return what an estimator sees in an image.

    Parameters
    ----------
    image
        float32 [rows, cols, 3] in [0, 1].
    estimator
        A model's name on the Hugging Face hub or its local folder. What is stored on this machine is not fetched.

    Returns
    -------
    float32 [rows, cols], in the model's own unit: most give a relative disparity, some a depth.

    Raises
    ------
    MissingExtraError
        transformers or pillow is not installed.
    InputError
        There is no such depth estimator, or it saw nothing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(
            f"initial: monocular needs {' and '.join(missing).replace('PIL', 'pillow')}: pip install "
            "'refbench[monocular]' brings it."
        )
    import torch

    processor, model = _loaded(estimator)
    codes = np.rint(255 * image).astype(np.uint8)
    with torch.no_grad():
        inputs = processor(images=codes, return_tensors="pt", input_data_format="channels_last")
        found = model(**inputs).predicted_depth[0].float().numpy()
    if not np.isfinite(found).any() or np.nanmin(found) == np.nanmax(found):
        raise InputError(f"The depth estimator {estimator} gave one value for the whole image: take another one.")
    return np.asarray(cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=1)
def _loaded(estimator: str) -> tuple[Any, Any]:
    """Return the image processor and the model, from this machine's copy where there is one."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    problem: Exception | None = None
    for local in (True, False):
        try:
            processor = AutoImageProcessor.from_pretrained(estimator, local_files_only=local)
            model = AutoModelForDepthEstimation.from_pretrained(estimator, local_files_only=local)
        except (OSError, ValueError) as error:
            problem = error
        else:
            return processor, model.eval()
    first = str(problem).strip().splitlines()[0]
    raise InputError(
        f"estimator: {estimator} cannot be loaded as a depth estimator, neither from this machine nor from the hub "
        f"({first})."
    )

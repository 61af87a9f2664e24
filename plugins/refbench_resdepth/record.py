"""What the ResDepth plugin registers. Data only."""

from __future__ import annotations

from refbench import Gives, MethodRecord, Need, Reported, hookimpl

_PACKAGE = "refbench_resdepth"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return ResDepth: from the DSM alone, with one ortho image, with two, with three to five."""
    return [
        MethodRecord(
            name="resdepth",
            target=f"{_PACKAGE}.method:ResDepth",
            summary="Residual U-Net that corrects a DSM from its own shape and from ortho images.",
            needs=(Need.DSM,),
            optional=(Need.ORTHO, Need.ORTHO_PAIR),
            gives=(Gives.DSM,),
            trainable=True,
            device=("cpu", "cuda"),
            extras=("resdepth",),
            packages=("torch",),
            origin="https://github.com/prs-eth/ResDepth",
            official_licence="MIT",
            paper="Stucker and Schindler, ISPRS J. Photogramm. 183 (2022), pp. 560-580, arXiv 2106.08107",
            reported=(
                Reported(
                    "mae of refined / mae of input",
                    0.5,
                    "abstract: about one half",
                    "satellite stereo and ETH3D",
                    "strong stereo baselines as the input",
                    "arXiv 2001.08026",
                ),
            ),
            unreported="the tables (Zurich, Berlin) could not be obtained",
            config=f"{_PACKAGE}.config:ResDepthConfig",
            configs_in="resdepth",
            official=f"{_PACKAGE}.official.files:Files",
            weights=("wild", "stereo", "0"),
            weights_in=f"{_PACKAGE}:weights",
            needs_weights=True,
        )
    ]

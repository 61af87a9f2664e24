"""What the fusion plugin registers. Data only."""

from __future__ import annotations

from refbench import Gives, MethodRecord, Need, hookimpl

_PACKAGE = "refbench_fusion"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return the fusion of other methods."""
    return [
        MethodRecord(
            name="fusion",
            target=f"{_PACKAGE}.method:Fusion",
            summary="Runs several methods and joins their DSMs by their standard deviations where they agree.",
            needs=(Need.DSM,),
            optional=(Need.POINTS, Need.ORTHO, Need.ORTHO_PAIR, Need.NDVI, Need.VIEWS, Need.DEPTHS),
            gives=(Gives.DSM,),
            stochastic=True,
            device=("cpu", "cuda"),
            packages=("torch",),
            origin="refbench",
            official_licence="",
            config=f"{_PACKAGE}.config:FusionConfig",
            configs_in="fusion",
        )
    ]

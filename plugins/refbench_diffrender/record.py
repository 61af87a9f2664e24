"""What the differentiable-rendering plugin registers. Data only."""

from __future__ import annotations

from refbench import Gives, MethodRecord, Need, hookimpl

_PACKAGE = "refbench_diffrender"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return the method."""
    return [
        MethodRecord(
            name="diffrender",
            target=f"{_PACKAGE}.method:Diffrender",
            summary="Depth maps refined by rendering them into the other views, fused to a DSM.",
            needs=(Need.VIEWS,),
            optional=(Need.DSM,),
            gives=(Gives.DSM, Gives.DEPTHS),
            stochastic=True,  # batches of views are drawn
            fills=True,
            device=("cpu", "cuda"),
            extras=("diffrender",),
            packages=("torch",),
            origin="https://github.com/lorafib/ref_depth",
            official_licence=None,
            paper="Fink, Franke, Egger, Keinert, Stamminger, VMV 2025, doi 10.2312/vmv.20251232",
            unreported="the tables (depth errors indoors) could not be obtained; no height errors are published",
            config=f"{_PACKAGE}.config:DiffrenderConfig",
            configs_in="diffrender",
            official=f"{_PACKAGE}.official.files:Files",
            checks=f"{_PACKAGE}.doctor:checks",
            tags={
                "check.config": "check",
                "check.expected.needs-declared": "points are one of several starts; named, a bridge would make them",
                "check.expected.optional-absent": "it starts from depth maps, a DSM or points: no record can say so",
            },
        )
    ]

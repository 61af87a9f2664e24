"""What the baselines plugin registers."""

from __future__ import annotations

from refbench import Gives, MethodRecord, Need, hookimpl

_PACKAGE = "refbench_baselines"


def _record(
    name: str,
    target: str,
    summary: str,
    config: str | None,
    paper: str = "",
    fills: bool = False,
    seconds: str = "0.3",
) -> MethodRecord:
    return MethodRecord(
        name=name,
        target=f"{_PACKAGE}.{target}",
        summary=summary,
        needs=(Need.DSM,),
        gives=(Gives.DSM,),
        fills=fills,
        origin="refbench",
        official_licence="",
        paper=paper,
        packages=("cv2", "scipy"),
        tags={"seconds_per_megapixel": seconds},
        config=None if config is None else f"{_PACKAGE}.config:{config}",
        configs_in=None if config is None else f"baselines/{name}*.yaml",
    )


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return the six baselines."""
    return [
        _record("input", "local:Input", "The initial DSM as it is: the zero line of every comparison.", None),
        _record("median", "local:Median", "Median filter that ignores NoData.", "MedianConfig"),
        _record(
            "bilateral",
            "local:Bilateral",
            "Bilateral filter: smooths surfaces, keeps steps.",
            "BilateralConfig",
            "Tomasi and Manduchi, ICCV 1998",
        ),
        _record(
            "guided",
            "local:Guided",
            "Guided filter with the DSM as its own guide.",
            "GuidedConfig",
            "He, Sun and Tang, TPAMI 2013",
        ),
        _record(
            "tv-l1",
            "local:TVL1",
            "Total variation with an absolute data term: removes spikes and small noise, keeps edges.",
            "TVL1Config",
            "Chambolle and Pock, JMIV 2011",
        ),
        _record(
            "fill",
            "fill:Fill",
            "Fills voids by the nearest height, inverse distances or Laplace's equation.",
            "FillConfig",
            fills=True,
        ),
    ]

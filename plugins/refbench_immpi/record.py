"""What the ImMPI plugin registers. Data only."""

from __future__ import annotations

from refbench import Gives, ImporterRecord, MethodRecord, Need, VerbRecord, hookimpl

_PACKAGE = "refbench_immpi"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return the method."""
    return [
        MethodRecord(
            name="immpi",
            target=f"{_PACKAGE}.method:ImMPI",
            summary="Implicit multiplane images, overfitted to posed views: depth maps, novel views, a fused DSM.",
            needs=(Need.VIEWS,),
            optional=(Need.DSM,),
            gives=(Gives.DSM, Gives.DEPTHS, Gives.VIEWS),
            trainable=True,
            fills=True,
            device=("cpu", "cuda"),
            extras=("immpi",),
            packages=("torch",),
            origin="https://github.com/wyc-Chang/ImMPI",
            official_licence=None,
            paper="Wu, Zou, Shi, IEEE TGRS 60 (2022), doi 10.1109/TGRS.2022.3197409",
            unreported="the tables (PSNR, SSIM, LPIPS on LEVIR-NVS) could not be obtained; it gives no height errors",
            config=f"{_PACKAGE}.config:ImMPIConfig",
            configs_in="immpi",
            official=f"{_PACKAGE}.official.files:Files",
            weights=("small",),
            weights_in=f"{_PACKAGE}:weights",
            needs_weights=True,
            tags={
                "check.config": "check",
                "check.expected.gives": "views are rendered where the configuration names poses",
            },
        )
    ]


@hookimpl
def refbench_importers() -> list[ImporterRecord]:
    """Return the reader of LEVIR-NVS and WHU-MVS folders."""
    return [
        ImporterRecord(
            name="immpi-views",
            target=f"{_PACKAGE}.official.folders:open_scene_folder",
            recognises=f"{_PACKAGE}.official.folders:is_data_folder",
            summary="A scene of LEVIR-NVS or WHU-MVS: Images, Cams and, where there are any, Depths.",
        )
    ]


@hookimpl
def refbench_verbs() -> list[VerbRecord]:
    """Return the verb that renders novel views."""
    return [
        VerbRecord(
            name="render",
            target=f"{_PACKAGE}.render_verb:command",
            summary="Render novel views, depths, planes and a video from multiplane images.",
        )
    ]

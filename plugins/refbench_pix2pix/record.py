"""What the pix2pix plugin registers. Data only."""

from __future__ import annotations

from refbench import (
    AssessorRecord,
    Gives,
    ImporterRecord,
    MethodRecord,
    Need,
    Reported,
    ReporterRecord,
    VerbRecord,
    hookimpl,
)
from refbench_pix2pix.footprints.assessors import FOOTPRINTS, assessor_record
from refbench_pix2pix.footprints.published import NOTEBOOK, NOTEBOOK_SCORES, NOTEBOOK_TILES

_PACKAGE = "refbench_pix2pix"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return the enhancer, with and without NDVI."""
    return [
        MethodRecord(
            name="pix2pix",
            target=f"{_PACKAGE}.method:Pix2Pix",
            summary="Conditional GAN that makes a stereo DSM, with its NDVI, look like a LiDAR one.",
            needs=(Need.DSM,),
            optional=(Need.NDVI,),
            gives=(Gives.DSM,),
            trainable=True,
            device=("cpu", "cuda"),
            extras=("pix2pix",),
            packages=("torch", "PIL"),
            origin="https://github.com/ldelzott/Pix2pix-based-DSM-Enhancer",
            official_licence=None,
            paper="After Isola et al., CVPR 2017 (pix2pix), and Bittner et al., ISPRS Archives XLII-2 (2018) 103-108",
            reported=tuple(
                Reported(key, value, "printed scores", NOTEBOOK_TILES, f"assessor:{FOOTPRINTS}", NOTEBOOK)
                for key, value in NOTEBOOK_SCORES.items()
            ),
            unreported="the authors give no height errors, and their tiles have no reference heights",
            config=f"{_PACKAGE}.config:Pix2PixConfig",
            configs_in="pix2pix",
            official=f"{_PACKAGE}.official.files:Files",
            weights=("ndvi", "dsm"),
            weights_in=f"{_PACKAGE}:weights",
            needs_weights=True,
        )
    ]


@hookimpl
def refbench_assessors() -> list[AssessorRecord]:
    """Return the scores of building footprints, from a mask or from ESFPNet."""
    return [assessor_record()]


@hookimpl
def refbench_importers() -> list[ImporterRecord]:
    """Return the reader of official tile folders."""
    return [
        ImporterRecord(
            name="pix2pix-tiles",
            target=f"{_PACKAGE}.official.tile_scene:open_tile_folder",
            recognises=f"{_PACKAGE}.official.names:is_tile_folder",
            summary="Tiles of the pix2pix enhancer: a folder of 256-<x0>-<y0>.tif, DSM and NDVI side by side.",
        )
    ]


@hookimpl
def refbench_reporters() -> list[ReporterRecord]:
    """Return the writer of official output tiles."""
    return [
        ReporterRecord(
            name="pix2pix-tiles",
            target=f"{_PACKAGE}.official.tile_scene:write_output_tiles",
            summary="The refined DSM as official 8-bit RGB tiles of 256 px; incomplete tiles are left out.",
            suffix="",
        )
    ]


@hookimpl
def refbench_verbs() -> list[VerbRecord]:
    """Return the verb that reproduces the published scores."""
    return [
        VerbRecord(
            name="pix2pix-scores",
            target=f"{_PACKAGE}.scores_verb:command",
            summary="Score official building masks as the pix2pix enhancer's notebook does, beside its numbers.",
        )
    ]

"""What the ImpliCity plugin registers. Data only."""

from __future__ import annotations

from refbench import (
    AssessorRecord,
    Gives,
    ImporterRecord,
    MethodRecord,
    Need,
    Reported,
    ReporterRecord,
    Score,
    VerbRecord,
    hookimpl,
)
from refbench_implicity.official.names import ERRORS, LAND_TYPES, STATISTICS

_PACKAGE = "refbench_implicity"


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return ImpliCity in its three variants: points alone, with one ortho image, with two."""
    return [
        MethodRecord(
            name="implicity",
            target=f"{_PACKAGE}.method:ImpliCity",
            summary="Occupancy field from a point cloud and up to two ortho images; the DSM is its highest surface.",
            needs=(Need.POINTS,),
            optional=(Need.ORTHO, Need.ORTHO_PAIR),
            gives=(Gives.DSM,),
            trainable=True,
            fills=True,
            device=("cpu", "cuda"),
            extras=("implicity",),
            packages=("torch",),
            origin="https://github.com/prs-eth/ImpliCity",
            official_licence="MIT",
            paper="Stucker et al., ISPRS Annals V-2-2022, pp. 193-201, arXiv 2201.09968",
            reported=(
                Reported(
                    "medae",
                    0.7,
                    "abstract: about 0.7 m, images of 0.5 m",
                    "Zurich",
                    "own",
                    "arXiv 2201.09968",
                ),
            ),
            unreported="the tables (MAE, RMSE by land type) could not be obtained",
            config=f"{_PACKAGE}.config:ImpliCityConfig",
            configs_in="implicity",
            official=f"{_PACKAGE}.official.files:Files",
            weights=("stereo", "0"),
            weights_in=f"{_PACKAGE}:weights",
            needs_weights=True,
        )
    ]


@hookimpl
def refbench_importers() -> list[ImporterRecord]:
    """Return the reader of official chunk data sets."""
    return [
        ImporterRecord(
            name="implicity-chunks",
            target=f"{_PACKAGE}.official.scene:open_chunk_folder",
            recognises=f"{_PACKAGE}.official.names:is_chunk_folder",
            summary="ImpliCity chunk data set: a folder with chunk_info.yaml.",
        )
    ]


@hookimpl
def refbench_assessors() -> list[AssessorRecord]:
    """Return the official evaluation."""
    return [
        AssessorRecord(
            name="implicity-eval",
            target=f"{_PACKAGE}.official.assessor:assess_official",
            summary="The official evaluation by land type: buildings grown by 2 pixels, its own NMAD.",
            scores=tuple(
                Score(
                    f"{land}_{key}",
                    f"{text}, {land}",
                    False if key in ERRORS else None,
                    "" if key == "n_pixel" else "m",
                )
                for land in LAND_TYPES
                for key, text in STATISTICS.items()
            ),
            options={"dilation": "pixels by which buildings grow; default 2"},
            reference="evaluation of the official code of Stucker et al., arXiv 2201.09968",
        )
    ]


@hookimpl
def refbench_verbs() -> list[VerbRecord]:
    """Return the verb that builds a chunk data set."""
    return [
        VerbRecord(
            name="implicity-chunks",
            target=f"{_PACKAGE}.chunks_verb:command",
            summary="Build an ImpliCity chunk data set from meshes, rasters and point clouds.",
        )
    ]


@hookimpl
def refbench_reporters() -> list[ReporterRecord]:
    """Return the official evaluation report."""
    return [
        ReporterRecord(
            name="implicity-eval",
            target=f"{_PACKAGE}.official.report:write_official_report",
            summary="The official evaluation table, with its NMAD about the median absolute error.",
            suffix=".txt",
        )
    ]

"""The assessor that the pix2pix plugin registers. Data only."""

from __future__ import annotations

from refbench import AssessorRecord, Score

FOOTPRINTS = "footprints"


def assessor_record() -> AssessorRecord:
    """Return the assessor of building footprints."""
    return AssessorRecord(
        name=FOOTPRINTS,
        target="refbench_pix2pix.footprints.footprint_assessor:assess_footprints",
        summary="Building mask of the DSM, by ESFPNet or from a file, against the true one; means over tiles of 256.",
        scores=(
            Score("mae", "mean absolute difference of the masks", higher_is_better=False),
            Score("dice", "F1 of the building pixels", higher_is_better=True),
            Score("iou", "intersection over union of the building pixels", higher_is_better=True),
            Score("sod_iou", "IoU, mean over 256 thresholds", higher_is_better=True),
            Score("sod_f1", "F with beta 0.1, mean over 256 thresholds", higher_is_better=True),
            Score("sod_dice", "Dice, mean over 256 thresholds", higher_is_better=True),
            Score("sod_sm", "S-measure", higher_is_better=True),
            Score("sod_em", "E-measure, mean over 256 thresholds", higher_is_better=True),
            Score("sod_mae", "mean absolute difference of the stretched mask", higher_is_better=False),
            Score("tiles", "how many tiles were scored"),
        ),
        options={
            "weights": "an ESFPNet file: a state dict or the whole pickled network; only its tensors are read",
            "mask": "instead: a building mask of the DSM, a raster of 0 and 1 or of 0 and 255, or a folder of tiles",
            "reference_mask": "the scene's mask to score against; default building",
            "offset": "height of grey level 0 in metres; default 0",
            "step": "metres of a grey level; default 1",
            "heads": "attention heads of the four stages, for networks of no published size",
            "border": "keep (default) the tiles that the raster's edge cuts, or drop them as published",
            "compat": "true: as published, unknown heights are level 0 and count, a tile of building alone has no mask",
        },
        reference="ESFPNet: arXiv 2207.07759; S-measure: Fan et al., ICCV 2017; E-measure: Fan et al., IJCAI 2018",
    )

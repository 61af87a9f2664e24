"""Building footprints of a DSM: segmentation network, mask metrics, assessor."""

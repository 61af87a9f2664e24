"""Bridges: thing to thing, in numpy, with differentiable forms in torch (``torch_...``, imported only on demand).

=========================  =====================================================================
points -> raster           ``rasterise`` (``cells``: own cell; ``neighbourhood``: Gaussian, IDW)
raster -> values, raster   ``sample``, ``warp``
scene <-> image            ``cameras``, ``rpc``, ``affine_camera`` on ``camera_model``; ``rpc_fit``, ``crs_map``
DSM + camera -> depth      ``depth``
depth + camera -> points   ``fuse``
image + camera -> ortho    ``ortho``
=========================  =====================================================================

Conventions as in ``refbench.contracts``: integer image coordinates are pixel centres, depth is z (for an RPC minus
the height), raster transforms map corners, arithmetic is float64 relative to a local origin.
"""

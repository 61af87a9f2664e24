"""A scene's view with its whole image, as diffrender's DSM mode sees parts of it."""

from refbench.geometry.tile_views import tile_view
from refbench_diffrender.views.ground_view import ground_part, view_scale


def ground_view(view):
    whole = tile_view(view)
    return ground_part(whole, view_scale(whole))

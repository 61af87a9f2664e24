"""A mark for tests that need open3d, the extra of the procedural city."""

import pytest

from refbench.contracts.errors import MissingExtraError
from refbench.formats.cloud_formats import import_open3d

try:
    import_open3d("tests")
    HAS_OPEN3D = True
except MissingExtraError:
    HAS_OPEN3D = False
needs_open3d = pytest.mark.skipif(not HAS_OPEN3D, reason="open3d (extra 'city') is not installed")

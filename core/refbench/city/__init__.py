"""The procedural city: geometry, light, sensors and a real matcher, so that the noise of its DSM is a matcher's.

Frame inside the package: *local* metres, x east, y north from the centre of the tile, z the absolute height.
Bands are always (red, green, blue, near infrared). Seeds below ``FIRST_TEST_SEED`` are for training, the others for
tests only.
"""

FIRST_TEST_SEED = 1000
"""Seeds from here on are never trained on; the embedded scene is the first of them."""

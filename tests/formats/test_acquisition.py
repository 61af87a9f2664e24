from datetime import datetime, timezone

import pytest

from refbench.formats.acquisition import acquisition_time

NOON = datetime(2014, 10, 11, 15, 57, 20, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "tags",
    [
        {"ACQUISITION": "20141011155720"},
        {"NITF_IDATIM": "20141011155720"},
        {"ACQUISITIONDATETIME": "2014-10-11T15:57:20.123Z"},
        {"TIFFTAG_DATETIME": "2014:10:11 15:57:20"},
        {"ACQUISITION": "20141011155720", "TIFFTAG_DATETIME": "2020:01:01 00:00:00"},
        {"ACQUISITION": "soon", "TIFFTAG_DATETIME": "2014:10:11 15:57:20"},
    ],
)
def test_a_time_is_found_in_tags(tags):
    assert acquisition_time(tags) == NOON


@pytest.mark.parametrize("tags", [{}, {"ACQUISITION": ""}, {"ACQUISITION": "yesterday"}, {"SUN_AZIMUTH": "20141011"}])
def test_no_time_is_made_up(tags):
    assert acquisition_time(tags) is None

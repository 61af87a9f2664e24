"""NPZ: damaged archives and headers that promise more than the file holds."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refbench import InputError
from refbench.formats.cloud import open_points

XYZ = np.random.default_rng(0).uniform(0, 100, (3000, 3))


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def header_of(shape, kind="<f8", fortran=False):
    """The bytes of an array's header alone."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": fortran, "shape": shape})
    return file.getvalue()


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def single(path):
    """An NPY file under the name of an NPZ."""
    with path.open("wb") as file:
        np.save(file, XYZ)
    return path


BAD = {
    "more than there is": (lambda p: archive(p, xyz=header_of((10**12, 3)) + bytes(240)), "cut off"),
    "overflowing": (lambda p: archive(p, xyz=header_of((2**62, 3)) + bytes(240)), "cut off"),
    "negative": (lambda p: archive(p, xyz=header_of((-4, 3)) + bytes(240)), "cut off"),
    "fortran": (lambda p: archive(p, xyz=header_of((10**9, 3), fortran=True) + bytes(240)), "cut off"),
    "a scale of 1 GB": (lambda p: archive(p, xyz=header_of((2, 3)) + bytes(48), scale=bytes(1 << 20)), "larger than"),
    "text": (lambda p: npz(p, xyz=np.full((4, 3), "1.0")), "must hold numbers"),
    "structured": (lambda p: npz(p, xyz=np.zeros((4, 3), [("a", "f4")])), "must hold numbers"),
    "complex": (lambda p: npz(p, xyz=np.zeros((4, 3), complex)), "must hold numbers"),
    "scale 0": (lambda p: npz(p, xyz=np.ones((4, 3), np.int32), scale=0, offset=0), "finite numbers, not 0"),
    "scale nan": (lambda p: npz(p, xyz=np.ones((4, 3), np.int32), scale=np.nan, offset=0), "finite numbers"),
    "two offsets": (lambda p: npz(p, xyz=np.ones((4, 3), np.int32), scale=1, offset=[1, 2]), "1 or 3"),
    "a scale of text": (lambda p: npz(p, xyz=np.ones((4, 3), np.int32), scale="a", offset=0), "1 or 3"),
    "colours": (lambda p: npz(p, xyz=XYZ, rgb=np.zeros((3000, 7))), "rgb has shape"),
    "crs": (lambda p: npz(p, xyz=XYZ, crs="nowhere"), "not a CRS"),
    "geocentric": (lambda p: npz(p, xyz=XYZ, crs="EPSG:4978"), "geocentric"),
    "one array": (lambda p: single(p), "cannot be read as a point cloud"),
    "no arrays": (lambda p: archive(p), "but none"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_cloud_is_refused_in_one_sentence(tmp_path, name):
    make, words = BAD[name]
    path = make(tmp_path / "a.npz")
    with pytest.raises(InputError, match=words) as caught:
        open_points(path).read()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 32),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
)
def test_any_damage_ends_in_a_cloud_or_one_sentence(tmp_path, seed, method):
    rng = np.random.default_rng(seed)
    content = header_of((50, 3)) + XYZ[:50].tobytes()
    path = archive(tmp_path / "a.npz", method, xyz=content, classes=header_of((50,), "|u1") + bytes(50))
    damaged = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        damaged[int(rng.integers(0, len(damaged)))] = int(rng.integers(0, 256))
    path.write_bytes(damaged[: None if rng.random() < 0.8 else int(rng.integers(0, len(damaged)))])
    try:
        assert len(open_points(path).read()) <= 50
    except InputError as error:
        assert "\n" not in str(error)


def test_noise_classes_and_far_points_of_an_npz_are_dropped_like_those_of_las(tmp_path):
    xyz, classes = XYZ.copy(), np.full(3000, 2)
    classes[:5], xyz[7, 0] = [7, 18, 7, 18, 7], 1e12
    source = open_points(npz(tmp_path / "a.npz", xyz=xyz, classes=classes))
    assert len(source.read()) == 2994
    assert "5 of 3,000 points are classified as noise" in source.warnings[0]
    assert "1 of 3,000 points lie far from all others (such as 1e+12" in source.warnings[1]
    assert len(open_points(tmp_path / "a.npz", keep_noise=True).read()) == 2999

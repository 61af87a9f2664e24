import numpy as np
import pytest
from rasterio.crs import CRS
from rpc_example import example_rpc

from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole, rotation_of

torch = pytest.importorskip("torch")

UTM = CRS.from_epsg(32632)


def cases():
    rng = np.random.default_rng(0)
    pinhole = Pinhole(
        np.array([[800.0, 0.5, 319.5], [0, 790, 239.5], [0, 0, 1]]), rotation_of([1, 2, 3, 4]), np.array([0.1, 0.2, 9])
    )
    near = rng.uniform(-2, 2, (40, 3))
    degrees = np.stack([rng.uniform(10.6, 10.75, 40), rng.uniform(48.0, 48.12, 40), rng.uniform(50, 900, 40)], axis=-1)
    rpc = example_rpc(UTM)
    x, y = rpc.from_lonlat(degrees[:, 0], degrees[:, 1])
    metres = np.stack([x, y, degrees[:, 2]], axis=-1)
    affine = AffineCamera.from_camera(rpc, metres[0], frame="EPSG:32632")
    return {
        "pinhole": (pinhole, near),
        "rpc": (example_rpc(), degrees),
        "rpc_utm": (rpc, metres),
        "affine": (affine, metres),
    }


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_tensors_give_the_same_numbers(name):
    camera, xyz = CASES[name]
    for mine, other in zip(camera.project(xyz), camera.to_torch().project(torch.tensor(xyz)), strict=True):
        assert other.dtype == torch.float64
        np.testing.assert_allclose(other.numpy(), mine, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name):
    camera, xyz = CASES[name]
    # About a scaled offset: gradcheck's step of 1e-6 would vanish in UTM coordinates.
    scale = torch.tensor([1e-3, 1e-3, 10.0] if name == "rpc" else [1.0, 1.0, 1.0], dtype=torch.float64)
    base, model = torch.tensor(xyz[:3]), camera.to_torch()

    def project(offset):
        return torch.stack(model.project(base + scale * offset))

    offset = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(project, offset, eps=1e-2 if name != "pinhole" else 1e-5, atol=1e-4, rtol=1e-4)


def test_the_slope_through_tensors_is_the_jacobian():
    camera, xyz = CASES["rpc_utm"]
    point = torch.tensor(xyz[0], requires_grad=True)
    slopes = torch.autograd.functional.jacobian(lambda p: torch.stack(camera.to_torch().project(p)[:2]), point)
    np.testing.assert_allclose(slopes.numpy(), camera.jacobian(xyz[0]), rtol=1e-7, atol=1e-7)


def test_pose_and_depth_are_differentiable():
    camera, xyz = CASES["pinhole"]
    model = camera.to_torch()
    model.t = model.t.clone().requires_grad_()
    col, row, depth = model.project(torch.tensor(xyz))
    again = model.unproject(col, row, depth)
    np.testing.assert_allclose(again.detach().numpy(), xyz, atol=1e-9)
    col.sum().backward()
    assert torch.isfinite(model.t.grad).all()


def test_behind_the_camera_there_is_no_image_and_no_gradient_of_nan():
    model = CASES["pinhole"][0].to_torch()
    xyz = torch.tensor([[0.0, 0, 0], [500, 500, 500], [-500, -500, -500]], dtype=torch.float64, requires_grad=True)
    col, _, depth = model.project(xyz)
    assert torch.equal(torch.isnan(col), depth <= 0)
    assert 0 < int(torch.isnan(col).sum()) < 3
    col[depth > 0].sum().backward()
    assert torch.isfinite(xyz.grad).all()


def test_outside_the_domain_there_is_nan():
    camera, xyz = CASES["rpc_utm"]
    col, _, _ = camera.to_torch().project(torch.tensor(xyz[:1] + np.array([500e3, 0, 0])))
    assert torch.isnan(col).all()

"""ImMPI's renderer: against the plain form, its gradient, its options, its memory, what it refuses."""

import numpy as np
import pytest
import torch
from plain_immpi_render import plain_render
from scipy.spatial.transform import Rotation

from refbench.contracts.errors import InputError
from refbench_immpi.planes.homography import check_planes, pyramid_intrinsics, target_views
from refbench_immpi.planes.render import composited, render

SIZE = (20, 28)


def intrinsics(focal, shape):
    return torch.tensor([[focal, 0, shape[1] / 2], [0, focal, shape[0] / 2], [0, 0, 1.0]], dtype=torch.float64)


def pose(degrees=(0, 0, 0), shift=(0, 0, 0)):
    """[1, 4, 4], rotation about x, y, z in degrees."""
    found = np.eye(4)
    found[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    found[:3, 3] = shift
    return torch.from_numpy(found)[None]


def scene(T=None, shape=SIZE, planes=5, near=90.0, far=110.0, dtype=torch.float64, density=0.2):
    """Noise in planes and the arguments of ``render``."""
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(1, planes, 3, *SIZE, generator=generator, dtype=dtype)
    sigma = density * torch.rand(1, planes, 1, *SIZE, generator=generator, dtype=dtype)
    depths = torch.linspace(near, far, planes, dtype=dtype)[None]
    cameras = [intrinsics(40, SIZE)[None].to(dtype), intrinsics(35, shape)[None].to(dtype)]
    return rgb, sigma, depths, (pose() if T is None else T).to(dtype), *cameras, shape


POSES = {
    "same place, other focal length": pose(),
    "small": pose((1, 2, 3), (4, -3, 2)),
    "sees all outside": pose((0, 0, 0), (400, 0, 0)),
    "from far": pose((0, 0, 0), (0, 0, 150)),
    "from near": pose((3, 0, 10), (0, 0, -60)),
    "turned about": pose((0, 0, 175), (3, 0, 0)),
    "between the planes": pose((0, 5, 0), (0, 0, -101.3)),
    "before its back": pose((0, 0, 0), (0, 2, -200)),
    "horizon in the image": pose((75, 0, 0), (0, 0, 20)),
    "looks away": pose((0, 178, 0), (1, 1, 4)),
}


@pytest.mark.parametrize("shape", [SIZE, (17, 23)], ids=["same size", "other size"])
@pytest.mark.parametrize("name", POSES)
def test_agrees_with_the_plain_form(name, shape):
    arguments = scene(POSES[name], shape)
    planes = [values.requires_grad_() for values in arguments[:2]]
    found, expected = render(*arguments), plain_render(*arguments)
    for key in ("rgb", "depth", "mask", "weight_sum"):
        torch.testing.assert_close(getattr(found, key), expected[key], rtol=1e-9, atol=1e-9)
    weights = torch.rand(found.rgb.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for rgb, depth, total in (
        (found.rgb, found.depth, found.weight_sum),
        (expected["rgb"], expected["depth"], expected["weight_sum"]),
    ):
        loss = (rgb * weights).sum() + 0.1 * (depth * weights[:, :1]).sum() + 3 * (total * weights[:, 1:2]).sum()
        gradients.append(torch.autograd.grad(loss, planes))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["small", "from far", "horizon in the image"])
def test_single_precision(name):
    double = scene(POSES[name])
    single = [values.float() if isinstance(values, torch.Tensor) else values for values in double]
    found, expected = render(*single), plain_render(*double)
    torch.testing.assert_close(found.rgb.double(), expected["rgb"], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.depth.double(), expected["depth"], rtol=1e-5, atol=1e-3)


def test_reference_view_is_not_warped():
    rgb, sigma, depths, T, K, _, shape = scene()
    (view,) = target_views(depths, T, K, K, SIZE, shape, rgb)
    for j, plane in enumerate(composited(rgb[0], sigma[0], view)):
        assert plane.layer.grid is None
        assert plane.rgb.data_ptr() == rgb[0, j].data_ptr()
        assert (plane.layer.z == depths[0, j]).all()
    found, expected = render(rgb, sigma, depths, T, K, K, shape), plain_render(rgb, sigma, depths, T, K, K, shape)
    torch.testing.assert_close(found.rgb, expected["rgb"])
    torch.testing.assert_close(found.depth, expected["depth"])
    assert found.mask.all()


def test_items_of_a_batch_are_rendered_apart():
    first, second = scene(POSES["small"]), scene(POSES["from far"], density=0.02)
    both = [
        torch.cat(pair) if isinstance(pair[0], torch.Tensor) else pair[0] for pair in zip(first, second, strict=True)
    ]
    found = render(*both)
    for b, single in enumerate((first, second)):
        torch.testing.assert_close(found.rgb[b], render(*single).rgb[0], rtol=0, atol=0)
        torch.testing.assert_close(found.depth[b], render(*single).depth[0], rtol=0, atol=0)


def test_half_precision_planes():
    rgb, sigma, *rest = scene(POSES["small"], dtype=torch.float32)
    low = [values.bfloat16().requires_grad_() for values in (rgb, sigma)]
    found = render(*low, *rest)
    assert found.rgb.dtype == found.depth.dtype == torch.float32
    expected = render(*(values.detach().float() for values in low), *rest)
    torch.testing.assert_close(found.rgb, expected.rgb, rtol=0, atol=0)
    found.rgb.sum().backward()
    assert {values.grad.dtype for values in low} == {torch.bfloat16}


def test_memory_does_not_grow_with_the_planes():
    kept = []
    for count in (3, 12):
        rgb, sigma, *rest = scene(POSES["small"], planes=count)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, into=sizes: into.append(x.numel()) or x, lambda x: x):
            render(rgb.requires_grad_(), sigma.requires_grad_(), *rest)
        kept.append(sum(sizes) - rgb.numel() - sigma.numel())
    assert kept[0] == kept[1] > 0


def test_normalised_colours_do_not_darken():
    rgb, sigma, *rest = scene(POSES["small"], density=2e-3)
    uniform = torch.full_like(rgb, 0.7)
    found, normalised = render(uniform, sigma, *rest), render(uniform, sigma, *rest, normalise=True)
    assert float(found.rgb.median()) < 0.6
    torch.testing.assert_close(normalised.rgb, uniform[:, 0], rtol=0, atol=5e-4)


def walls(distances):
    """A scene in the reference view whose planes at 90, 95, ..., 110 let exp(-distance) through."""
    rgb, sigma, depths, T, K, _, shape = scene()
    steps = torch.tensor([5.0, 5.0, 5.0, 5.0, 1000.0], dtype=torch.float64)
    # At the principal point the ray is the optical axis: planes are as far apart as their depths.
    sigma = (torch.tensor(distances, dtype=torch.float64) / steps)[None, :, None, None, None].expand_as(sigma)
    return rgb, sigma, depths, T, K, K, shape


CENTRE = (0, 0, SIZE[0] // 2, SIZE[1] // 2)


def test_median_of_an_opaque_plane_is_its_depth():
    found = render(*walls([0, 0, 50, 0, 0]), depth_mode="median", spread=True)
    assert float(found.depth[CENTRE]) == pytest.approx(100, abs=1e-3)
    assert float(found.spread[CENTRE]) == pytest.approx(0, abs=0.02)


def test_median_and_spread_between_planes():
    """Weights 0.4, 0.1, 0 and 0.5 at depths 90, 95, 100 and 105 (the last of five lets all through)."""
    through = [0.6, 0.5 / 0.6, 1.0, 1e-30, 1.0]
    found = render(*walls([-np.log(fraction) for fraction in through]), depth_mode="median", spread=True)
    weights, depths = np.array([0.4, 0.1, 0, 0.5]), np.array([90, 95, 100, 105])
    middles = np.cumsum(weights) - weights / 2
    assert float(found.depth[CENTRE]) == pytest.approx(np.interp(0.5, middles, depths), abs=1e-3)
    mean = (weights * depths).sum()
    assert float(found.spread[CENTRE]) == pytest.approx(np.sqrt((weights * (depths - mean) ** 2).sum()), abs=1e-2)
    assert not found.spread.requires_grad


def test_median_beyond_the_middle_of_the_last_plane():
    found = render(*walls([0.1, 0, 0, 0, 30]), depth_mode="median")
    assert 90 < float(found.depth[CENTRE]) <= 110
    first = render(*walls([30, 0, 0, 0, 0]), depth_mode="median")
    assert float(first.depth[CENTRE]) == pytest.approx(90)


def test_pyramid_intrinsics():
    K = intrinsics(40, (20, 28))
    K[0, 2], K[1, 2] = 13.5, 9.5  # the centre of the image
    published = pyramid_intrinsics(K, 1)
    np.testing.assert_allclose(published, [[20, 0, 6.75], [0, 20, 4.75], [0, 0, 1]])
    centred = pyramid_intrinsics(K, 2, half_pixel=True)
    np.testing.assert_allclose(centred, [[10, 0, 3], [0, 10, 2], [0, 0, 1]])
    assert float(K[2, 2]) == 1
    assert float(K[0, 2]) == 13.5


def test_plane_through_the_camera_is_named():
    depths = torch.tensor([90.0, 100.0, 110.0])
    with pytest.raises(InputError, match=r"Plane 1 of 3 \(depth 100 .*view 007: choose a depth range"):
        check_planes(depths, pose((0, 0, 30), (5, 0, -100))[0], "007")
    check_planes(depths, pose((0, 0, 30), (5, 0, -99))[0], "007")
    check_planes(depths, pose((1, 2, 30), (5, 0, 0))[0], "007")


def test_even_then_nothing_is_nan():
    arguments = scene(pose((0, 0, 0), (0.5, 0, -100)))
    found = render(*(values.requires_grad_() for values in arguments[:2]), *arguments[2:])
    (found.rgb.sum() + found.depth.sum()).backward()
    assert found.rgb.isfinite().all()
    assert found.depth.isfinite().all()
    assert all(values.grad.isfinite().all() for values in arguments[:2])


@pytest.mark.parametrize("spoil", ["bands", "planes", "size", "axes"])
def test_shapes_that_do_not_fit(spoil):
    rgb, sigma, depths, *rest = scene()
    changed = {
        "bands": (rgb[:, :, :2], sigma, depths),
        "planes": (rgb, sigma, depths[:, 1:]),
        "size": (rgb, sigma[..., 1:], depths),
        "axes": (rgb[0], sigma[0], depths),
    }
    with pytest.raises(InputError, match=r"A multiplane image has colours \[B, D, 3, h, w\]"):
        render(*changed[spoil], *rest)


def test_planes_of_one_row():
    rgb, sigma, *rest = scene()
    with pytest.raises(InputError, match="2 x 2 pixels at least, not 1 x 28"):
        render(rgb[..., :1, :], sigma[..., :1, :], *rest)


@pytest.mark.gpu
def test_cuda_agrees():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA")
    arguments = scene(POSES["small"], dtype=torch.float32)
    results = []
    for device in ("cpu", "cuda"):
        given = [values.to(device) if isinstance(values, torch.Tensor) else values for values in arguments]
        given[0].requires_grad_()
        given[1].requires_grad_()
        found = render(*given)
        gradients = torch.autograd.grad(found.rgb.square().sum() + found.depth.sum(), given[:2])
        results.append([values.detach().cpu() for values in (found.rgb, found.depth, found.mask, *gradients)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3 * float(theirs.abs().max()))

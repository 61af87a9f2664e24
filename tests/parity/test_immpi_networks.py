"""ImMPI's networks against the official code: encoding, encoder, multiplane images, checkpoints."""

import numpy as np
import pytest
import torch
from golden import cases, files_of
from golden_immpi import FOLDER, arrays_of, image, load, networks, of_manifest

from refbench_immpi.network.encoding import hypotheses, inverse_depth_planes, plane_encoding
from refbench_immpi.network.fused import fast_planes
from refbench_immpi.official.checkpoints import read_official, write_official
from refbench_immpi.planes.render import render

MAPS = ("conv1", "block1", "block2", "block3", "block4")
FORMS = ("plain", "forward", "fast")


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def encoding_cases():
    for path in files_of("immpi", "A"):
        for name in arrays_of(path):
            yield path, name


@cases(("path", "name"), [c for c in encoding_cases() if c[1].startswith(("hyp_", "emb_", "planes_"))])
def test_planes_and_their_encoding(path, name):
    arrays = arrays_of(path)
    expected = arrays[name]
    if name.startswith("hyp_"):
        close(hypotheses(expected.shape[1]).expand(len(expected), -1), expected, 1e-6)
    elif name.startswith("emb_"):
        close(plane_encoding(expected.shape[1], "scrambled").expand(len(expected), -1, -1), expected, 1e-4)
    else:
        near, far = (torch.from_numpy(arrays[f"depth_{end}"]) for end in ("min", "max"))
        np.testing.assert_allclose(inverse_depth_planes(near, far, expected.shape[1]), expected, rtol=1e-6)


@cases("path", files_of("immpi", "B_features"))
def test_features(path):
    arrays, train = arrays_of(path), of_manifest(path, "train_mode")
    encoder, _ = networks(of_manifest(path, "model_type"), train=train)
    with torch.no_grad():
        maps = encoder(image(arrays))
    stride = int(arrays["channel_stride"])
    loose = 3 if train and of_manifest(path, "model_type") == "resnet50" else 1
    for name, found in zip(MAPS, maps, strict=True):
        close(found[:, ::stride], arrays[name], loose * 1e-4 * np.abs(arrays[name]).max())
    check_buffers(encoder, arrays)
    assert set(arrays) <= {"image_u8", "channel_stride", *MAPS} | {k for k in arrays if k.startswith("after__")}


def check_buffers(net, arrays, strip=""):
    state = net.state_dict()
    for name, expected in arrays.items():
        if name.startswith("after__") and name.removeprefix("after__").removeprefix(strip) in state:
            found = state[name.removeprefix("after__").removeprefix(strip)].numpy()
            close(found, expected, 1e-4 * max(np.abs(expected).max(), 1e-12))


def generated(form, generator, features, planes, train):
    if form == "fast":
        return fast_planes(generator, features, planes, batch_norms=train)
    with torch.no_grad():
        return generator(features, planes) if form == "forward" else generator.plain(features, planes)


@pytest.mark.parametrize("form", FORMS)
@cases("path", files_of("immpi", "C_mpi"))
def test_multiplane_images(path, form):
    arrays, train = arrays_of(path), of_manifest(path, "train_mode")
    encoder, generator = networks(of_manifest(path, "model_type"), train=train)
    with torch.no_grad():
        features = encoder(image(arrays))
    found = generated(form, generator, features, int(arrays["ndepth"]), train)
    tolerance = 1e-3 if train else 1e-4
    for scale, stride in enumerate(arrays["strides_scale0123"]):
        close(found[scale][..., ::stride, ::stride], arrays[f"MPI_{scale}"], tolerance)
        np.testing.assert_allclose(found[scale].double().sum((3, 4)), arrays[f"MPI_{scale}_sum"], rtol=1e-4)
    if form != "fast":  # without gradients nothing is kept
        named = [name for name in arrays if name.startswith("after__")]
        states = {**encoder.state_dict(), **generator.state_dict()}
        assert all(name.removeprefix("after__") in states for name in named)
        check_buffers(encoder, arrays)
        check_buffers(generator, arrays)


def reduced():
    for path in files_of("immpi", "I_reduced"):
        if path.suffix == ".npz":
            yield path


@pytest.mark.parametrize("form", FORMS)
@cases("path", list(reduced()))
def test_a_narrow_official_checkpoint(path, form):
    arrays = arrays_of(path)
    strides = dict(zip((0, 1, 2, 3), (8, 4, 2, 2), strict=True))
    images = {}
    for train in (True, False):
        stored = read_official(FOLDER / of_manifest(path, "checkpoint"))
        with torch.no_grad():
            features = stored.encoder.train(train)(image(arrays))
        found = generated(form, stored.generator.train(train), features, int(arrays["ndepth"]), train)
        images[train] = found
        for scale, stride in strides.items():
            name = f"{'train' if train else 'eval'}_MPI_{scale}"
            close(found[scale][..., ::stride, ::stride], arrays[name], 3e-4)
    mpi = images[True][0]
    near, far = (torch.from_numpy(arrays[f"depth_{end}"]) for end in ("min", "max"))
    planes = inverse_depth_planes(near, far, mpi.shape[1])
    K, pose = torch.from_numpy(arrays["K"]), torch.from_numpy(arrays["T_tgt_ref"])
    view = render(mpi[:, :, :3], mpi[:, :, 3:], planes, pose, K, K, tuple(mpi.shape[-2:]))
    close(view.rgb[..., ::2, ::2], arrays["rgb_s2"], 3e-4)
    close(view.depth[..., ::2, ::2], arrays["depth_s2"], 0.01)
    assert (view.mask[..., ::2, ::2].numpy() != arrays["mask_s2"]).sum() <= 3


@cases("path", [p for p in files_of("immpi", "I", ".json") if "keys" in p.stem])
def test_every_official_key_is_read_and_written(path, tmp_path):
    expected = load(path)
    source = FOLDER / of_manifest(path, "checkpoint")
    stored = read_official(source)
    write_official(tmp_path / "again.ckpt", stored.encoder, stored.generator, stored.epoch, {})
    content = torch.load(tmp_path / "again.ckpt", weights_only=True)
    assert set(content) == {"epoch", "feature_generator", "mpi_generator", "optimizer", "refbench_network"}
    for name in ("feature_generator", "mpi_generator"):
        assert list(content[name]) == list(expected[name])
        for key, (shape, value) in expected[name].items():
            assert list(content[name][key].shape) == shape
            assert torch.all(content[name][key] == value), key

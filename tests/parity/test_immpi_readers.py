"""Folders and configurations of ImMPI against the official readers."""

import shutil

import numpy as np
import pytest
from golden import cases, files_of
from golden_immpi import FOLDER, MANIFEST, arrays_of, load, of_manifest

from refbench.contracts.errors import InputError
from refbench.scenes.scene_yaml import load_scene
from refbench.scenes.write import write_scene
from refbench_immpi.official.config import read_official
from refbench_immpi.official.folder_export import export_scene
from refbench_immpi.official.folders import SceneFolder, is_data_folder, open_scene_folder
from refbench_immpi.official.neighbour_orders import whu_neighbours, whu_references
from refbench_immpi.official.view_split import write_split
from refbench_immpi.views.posed import posed_views

TOLERANCE, TRANSLATION = 1e-5, 1e-3


def folder_of_file(path):
    return SceneFolder(FOLDER / of_manifest(path, "folder") / of_manifest(path, "scene"))


def poses(folder, reference, others):
    """T_tgt_ref float32 [N, 4, 4] as the official code multiplies them."""
    E = folder.camera(reference).E
    return np.stack([folder.camera(name).E @ np.linalg.inv(E) for name in others])


def means(folder, names):
    return np.stack([folder.image(name).astype(np.float64).mean((1, 2)) for name in names])


def close_poses(found, expected):
    np.testing.assert_allclose(found[..., :3, :3], expected[..., :3, :3], atol=TOLERANCE)
    np.testing.assert_allclose(found[..., 3], expected[..., 3], atol=TRANSLATION)


def names(numbers):
    return [f"{number:03d}" for number in numbers]


@cases("path", [p for p in files_of("immpi", "F") if of_manifest(p, "dataset") == "levir_nvs"])
def test_levir(path):
    arrays, folder = arrays_of(path), folder_of_file(path)
    reference = of_manifest(path, "sample")
    views = len(folder.views())
    camera = folder.camera(reference, needs_range=True)
    np.testing.assert_allclose(camera.K, arrays["K_ref"][0], atol=TOLERANCE)
    np.testing.assert_allclose(camera.E, arrays["E_ref"][0], atol=TOLERANCE)
    assert [camera.near, camera.far] == pytest.approx([arrays["depth_min_ref"][0], arrays["depth_max_ref"][0]])
    ordered = names(range(1, views))
    close_poses(poses(folder, reference, ordered), arrays["Ts_tgt_ref"][0])
    np.testing.assert_allclose(np.stack([folder.camera(n).K for n in ordered]), arrays["Ks_tgt"][0], atol=TOLERANCE)
    np.testing.assert_allclose(means(folder, [reference])[0], arrays["image_ref_mean"][0], atol=TOLERANCE)
    np.testing.assert_allclose(means(folder, ordered), arrays["images_tgt_mean"][0], atol=TOLERANCE)
    stride = of_manifest(path, "pixel_stride")
    image = folder.image(reference)[:, ::stride, ::stride]
    np.testing.assert_allclose(image, arrays[f"image_ref_s{stride}"][0], atol=TOLERANCE)
    depth = folder.depth(reference)[::stride, ::stride]
    np.testing.assert_allclose(depth, arrays[f"depth_ref_s{stride}"][0], atol=TOLERANCE)
    track = folder.track()
    E = np.linalg.inv(folder.camera(reference).E)
    close_poses(np.stack([camera.E @ E for camera in track]), arrays["track_Ts"][0])
    np.testing.assert_allclose(np.stack([camera.K for camera in track]), arrays["track_Ks"][0], atol=TOLERANCE)
    assert len(arrays) == 14


@cases("path", [p for p in files_of("immpi", "F") if of_manifest(p, "dataset") == "whu_mvs"])
def test_whu(path):
    arrays, folder = arrays_of(path), folder_of_file(path)
    stride = of_manifest(path, "pixel_stride")
    checked = 0
    for reference in sorted({name.split("_")[0] for name in arrays}):
        camera = folder.camera(reference, needs_range=True)
        np.testing.assert_allclose(camera.K, arrays[f"{reference}_K_ref"][0], atol=TOLERANCE)
        np.testing.assert_allclose([[camera.near], [camera.far]], arrays[f"{reference}_depth_range"], atol=TOLERANCE)
        depth = folder.depth(reference)[::stride, ::stride]
        np.testing.assert_allclose(depth, arrays[f"{reference}_depth_ref_s{stride}"][0], atol=TOLERANCE)
        checked += 3
        for name in arrays:
            if name.startswith(f"{reference}_") and name.endswith("_Ts_tgt_ref"):
                number = int(name.split("_")[1])
                ordered = names(whu_neighbours(int(reference), number))
                close_poses(poses(folder, reference, ordered), arrays[name][0])
                found = means(folder, ordered)
                np.testing.assert_allclose(found, arrays[f"{reference}_{number}_images_tgt_mean"][0], atol=TOLERANCE)
                checked += 2
    assert checked == len(arrays)


def test_orders_without_golden_numbers():
    assert whu_neighbours(12, 4, many_scenes=True) == (11, 13, 7, 17)
    assert whu_references(19) == (7, 12)
    assert whu_references(5) == ()
    with pytest.raises(InputError, match="no sample"):
        whu_neighbours(3, 19)


def configs():
    expected = FOLDER / "configs" / "expected.json"
    return sorted(load(expected).items()) if expected.is_file() else []


@cases(("name", "expected"), configs())
def test_configurations(name, expected):
    program = MANIFEST.get("configs", {}).get(name)
    found = read_official(FOLDER / "configs" / name, program)
    assert dict(found.values) == expected
    assert read_official(FOLDER / "configs" / name).values == found.values


def splits():
    return sorted((FOLDER / "data").glob("*/view_split.txt"))


@cases("path", splits())
def test_view_splits_come_back(path, tmp_path):
    _, train, _, test = ([int(word) for word in line.split()] for line in path.read_text().splitlines())
    write_split(tmp_path / "again.txt", train, test)
    assert (tmp_path / "again.txt").read_text() == path.read_text()


def scene_folders():
    return sorted(path.parent for path in (FOLDER / "data").glob("*/*/Cams"))


@cases("path", scene_folders())
def test_a_folder_becomes_a_scene_and_a_folder_again(path, tmp_path):
    assert is_data_folder(path)
    assert is_data_folder(path.parent)
    scene = open_scene_folder(path)
    layout = "whu" if "whu" in path.parent.name else "levir"
    export_scene(scene, tmp_path / layout, layout)
    first, again = SceneFolder(path), SceneFolder(tmp_path / layout / "scene_000")
    for number, name in enumerate(first.views()):
        stem = f"{number:03d}"
        np.testing.assert_array_equal(first.image(name), again.image(stem))
        before, after = first.camera(name), again.camera(stem)
        np.testing.assert_allclose(before.K, after.K)
        assert (before.near, before.far) == pytest.approx((after.near, after.far))
        depth = first.depth(name)
        if depth is not None:
            np.testing.assert_array_equal(depth, again.depth(stem))
    reference = first.views()[0]
    ordered = first.views()[1:]
    stems = [f"{number:03d}" for number in range(1, len(first.views()))]
    close_poses(poses(first, reference, ordered), poses(again, "000", stems))


@cases("path", scene_folders()[:1])
def test_a_folder_goes_through_a_scene_file(path, tmp_path):
    scene = open_scene_folder(path)
    write_scene(tmp_path, scene)
    views = posed_views(load_scene(tmp_path))
    original = posed_views(scene)
    for first, second in zip(original, views, strict=True):
        assert (first.near, first.far) == (second.near, second.far)
        np.testing.assert_allclose(first.E, second.E, atol=1e-9)


@cases("path", scene_folders()[:1])
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda lines: lines[:6], "12: 1 header"),
        (lambda lines: [*lines[:2], "1;2;3;4", *lines[3:]], "line 3"),
        (lambda lines: [lines[0], "2,0,0,0", *lines[2:]], "no rotation"),
        (lambda lines: [*lines[:11], "429,389"], "line 12"),
        (lambda lines: [*lines[:11], "0,389"], "line 12"),
        (lambda lines: lines[:11], "is missing"),
    ],
)
def test_broken_cameras_are_named(path, tmp_path, edit, words):
    copy = tmp_path / "scene_000"
    shutil.copytree(path, copy)
    camera = sorted((copy / "Cams").glob("*.txt"))[0]
    camera.chmod(0o644)
    camera.write_text("\n".join(edit(camera.read_text().splitlines())))
    with pytest.raises(InputError, match=words) as caught:
        open_scene_folder(copy)
    assert str(camera) in str(caught.value)

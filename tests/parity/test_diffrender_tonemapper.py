"""Parity of the tonemapper of diffrender with the official one.

Cases and every parameter come from the golden folder; see ``golden_diffrender``.
"""

from __future__ import annotations

from golden_diffrender import cases, files, load_npz
from golden_diffrender_pieces import agree, beside, numbered, settings, tensors

from refbench_diffrender.depth_mode.tonemapper import Tonemapper, load_tonemapper, quotient_index

TONES = files("08_tonemapper")


def tones_of(path):
    data = tensors(path)
    tones = Tonemapper(len(data["exposure"]))
    tones.load_state_dict({"exposure": data["exposure"], "response": data["response"]})
    return data, tones


@cases("path", TONES)
def test_tones_of_views(path):
    data, tones = tones_of(path)
    image = data["img"].movedim(1, -1)
    for view in numbered(data, "fwd"):
        agree(tones.image_of(image, view).movedim(-1, 1), data[f"fwd_{view}"])
        agree(tones.linear(image, view).movedim(-1, 1), data[f"inv_{view}"])


@cases("path", TONES)
def test_tones_between_views(path):
    data, tones = tones_of(path)
    of, by = settings(path)["chain"]
    found = tones(data["img"].movedim(1, -1), of, by).movedim(-1, 1)
    agree(found, data[f"chain_{of}_{by}"])
    (found * data["chain_cot"]).sum().backward()
    agree(tones.exposure.grad, data["chain_grad_exposure"])
    agree(tones.response.grad, data["chain_grad_response"])


@cases("path", TONES)
def test_tones_from_files(path):
    data = tensors(path)
    tones = load_tonemapper(*(beside(path, "08_tonemapper", name) for name in ("exposure.txt", "response.txt")))
    for view in numbered(data, "from_files_fwd"):
        found = tones.image_of(data["img"].movedim(1, -1), view)
        agree(found.movedim(-1, 1), data[f"from_files_fwd_{view}"])


@cases("path", TONES)
def test_tones_of_the_wrong_view(path):
    table = load_npz(path)["index_mismatch_n_i_fwd_inv"]
    listed = {(n, i, forward) for n, i, forward, _ in table.tolist()}
    counts = sorted({n for n, _, _ in listed})
    found = {(n, i, quotient_index(n, i)) for n in counts for i in range(n) if quotient_index(n, i) != i}
    assert found == listed
    assert (table[:, 2] == table[:, 3]).all()

"""RPCs of OSSIM, DIMAP and WorldView: the same camera whatever writes it."""

import numpy as np
import pytest
from makers import UTM, grid_of, rpc_looking_down, write_tif

from refbench import InputError
from refbench.formats.camera_files import read_camera, rpc_of_image
from refbench.formats.raster import open_image

GRID = grid_of()
POINTS = np.array([[500_005.0, 4_999_990.0, 101.0], [500_012.0, 4_999_985.0, 104.0]])
AXES = ("line", "samp", "lat", "long", "height")
CUBICS = [(axis, part) for axis in ("line", "samp") for part in ("num", "den")]


def as_geom(rpc):
    lines = ["type:  ossimRpcModel", "polynomial_format:  B", "number_lines:  60"]
    lines += [f"{axis}_{kind}:  {getattr(rpc, f'{axis}_{kind}')!r}" for axis in AXES for kind in ("off", "scale")]
    for axis, part in CUBICS:
        values = getattr(rpc, f"{axis}_{part}_coeff").tolist()
        lines += [f"{axis}_{part}_coeff_{k:02d}:  {value!r}" for k, value in enumerate(values)]
    return "\n".join(lines) + "\n"


def as_worldview(rpc):
    inside = "".join(
        f"<{axis.upper()}{long}>{getattr(rpc, f'{axis}_{kind}')!r}</{axis.upper()}{long}>"
        for axis in AXES
        for kind, long in (("off", "OFFSET"), ("scale", "SCALE"))
    )
    for axis, part in CUBICS:
        name = f"{axis}{part}COEF".upper()
        numbers = " ".join(map(repr, getattr(rpc, f"{axis}_{part}_coeff").tolist()))
        inside += f"<{name}List><{name}>{numbers}</{name}></{name}List>"
    return f"<?xml version='1.0'?><isd><RPB><SATID>WV03</SATID><IMAGE>{inside}</IMAGE></RPB></isd>"


def as_dimap(rpc, version=2):
    first, inverse = {2: (1.0, "Inverse_Model"), 3: (0.5, "GroundtoImage_Values")}[version]
    shift = {"line_off": first, "samp_off": first}
    validity = "".join(
        f"<{axis}_{kind}>{getattr(rpc, f'{axis}_{kind}') + shift.get(f'{axis}_{kind}', 0)!r}</{axis}_{kind}>".upper()
        for axis in AXES
        for kind in ("off", "scale")
    )
    model = ""
    for axis, part in CUBICS:
        for k, value in enumerate(getattr(rpc, f"{axis}_{part}_coeff").tolist(), 1):
            name = f"{axis}_{part}_COEFF_{k}".upper()
            model += f"<{name}>{value!r}</{name}>"
    return (
        "<?xml version='1.0'?><Dimap_Document><Metadata_Identification>"
        f"<METADATA_FORMAT version='{version}.15'>DIMAP</METADATA_FORMAT></Metadata_Identification>"
        f"<Rational_Function_Model><Global_RFM><Direct_Model><SAMP_NUM_COEFF_1>9</SAMP_NUM_COEFF_1></Direct_Model><{inverse}>{model}</{inverse}>"
        f"<RFM_Validity>{validity}</RFM_Validity></Global_RFM></Rational_Function_Model></Dimap_Document>"
    )


def as_dimap_1(rpc):
    names = {"line": "Row", "samp": "Col", "lat": "Lat", "long": "Lon", "height": "Alt"}
    validity = "".join(
        f"<{name}><A>{getattr(rpc, f'{axis}_scale')!r}</A>"
        f"<B>{getattr(rpc, f'{axis}_off') + (axis in ('line', 'samp'))!r}</B></{name}>"
        for axis, name in names.items()
    )
    both = {
        name: [*getattr(rpc, f"{axis}_num_coeff"), *getattr(rpc, f"{axis}_den_coeff")]
        for axis, name in (("line", "F_ROW"), ("samp", "F_COL"))
    }
    cubics = "".join(f"<{name}>{' '.join(repr(float(v)) for v in values)}</{name}>" for name, values in both.items())
    return f"<Dimap_Document><Global_RFM>{cubics}<RFM_Validity>{validity}</RFM_Validity></Global_RFM></Dimap_Document>"


WRITTEN = {
    "view.geom": as_geom,
    "view.XML": as_worldview,
    "dimap2/view.xml": as_dimap,
    "dimap3/view.xml": lambda rpc: as_dimap(rpc, 3),
    "dimap1/view_RPC.XML": as_dimap_1,
}


@pytest.mark.parametrize(("name", "written"), WRITTEN.items(), ids=WRITTEN)
def test_the_same_camera_as_a_file_and_beside_its_image(tmp_path, name, written):
    rpc = rpc_looking_down(GRID, 0.1)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(written(rpc))
    png = path.with_name("view.png")
    write_tif(path.with_name("view.tif"), np.ones((60, 80), np.uint8)).rename(png)
    for found in (read_camera(path, UTM), rpc_of_image(open_image(png), UTM)):
        for one, other in zip(found.project(POINTS), rpc.project(POINTS), strict=True):
            assert np.abs(one - other).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.geom", "type:  ossimSensorModel\n", "no RPC model of OSSIM .*ossimSensorModel"),
        ("x.geom", "line_off:  3\nsamp_off:  x\n", "LINE_SCALE|SAMP_OFF"),
        ("x.xml", "<a>", "not valid XML"),
        ("x.xml", "<a/>", "neither Global_RFM"),
        ("x.xml", "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>", "declares a document type"),
        ("x.xml", "<isd><RPB><IMAGE><LINEOFFSET>1</LINEOFFSET></IMAGE></RPB></isd>", "lacks LINE_SCALE|lacks SAMP_OFF"),
        ("x.xml", "<D><Global_RFM/></D>", "lacks the inverse model"),
        ("x.xml", "<D><Global_RFM><F_ROW>1 2</F_ROW></Global_RFM></D>", "F_ROW holds 2 numbers, not 40"),
        (
            "x.xml",
            "<D><METADATA_FORMAT version='9.1'/><Global_RFM><Inverse_Model/><RFM_Validity/></Global_RFM></D>",
            "DIMAP of version 9",
        ),
        (
            "x.xml",
            "<D><Global_RFM><Inverse_Model/><RFM_Validity><LINE_OFF>a</LINE_OFF></RFM_Validity></Global_RFM></D>",
            "LINE_OFF must be a number",
        ),
    ],
)
def test_what_is_no_rpc_is_refused_by_name(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_camera(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_xml_about_something_else_beside_an_image_is_left_alone(tmp_path):
    png = tmp_path / "view.png"
    write_tif(tmp_path / "view.tif", np.ones((60, 80), np.uint8)).rename(png)
    (tmp_path / "view.xml").write_text("<metadata><title>a view</title></metadata>")
    assert rpc_of_image(open_image(png)) is None

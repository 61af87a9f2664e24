"""What the distribution registers: data only."""

from refbench import Gives, MethodRecord, Need, hookimpl


@hookimpl
def refbench_methods() -> list[MethodRecord]:
    """Return both methods."""
    return [
        MethodRecord(
            name="acme-net",
            target="acme_dsm.learned:AcmeNet",
            summary="Corrects a DSM by a small network.",
            needs=(Need.DSM,),
            gives=(Gives.DSM,),
            trainable=True,
            device=("cpu", "cuda"),
            extras=("training",),
            packages=("torch",),
            licence="Apache-2.0",
            config="acme_dsm.settings:AcmeNetConfig",
            official_licence="",
        ),
        MethodRecord(
            name="acme-cloud",
            target="acme_dsm.cloud:AcmeCloud",
            summary="Makes a DSM of a point cloud.",
            needs=(Need.POINTS,),
            gives=(Gives.DSM,),
            fills=True,
            licence="Apache-2.0",
            config="acme_dsm.settings:AcmeCloudConfig",
            official_licence="",
        ),
    ]

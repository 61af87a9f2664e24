"""The height field itself, refined by pinhole, affine and RPC views together."""

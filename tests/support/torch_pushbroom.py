"""``pushbroom.LineScanner`` for tensors."""

import torch

from refbench.geometry.torch_cameras import TorchCameraModel


class TorchLineScanner(TorchCameraModel):
    def __init__(self, camera):
        super().__init__()
        self.camera = camera

    def project(self, xyz):
        x, y, h = xyz.unbind(-1)
        camera, depth = self.camera, self.camera.altitude - h
        col = camera.focal * (x - camera.x0) / depth + camera.centre
        return torch.where(depth > 0, col, torch.nan), (camera.y0 - y + camera.lean * h) / camera.step, depth

"""The pix2pix DSM enhancer as a plugin of refbench: a conditional GAN on a DSM and an NDVI."""

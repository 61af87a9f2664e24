"""The networks that predict multiplane images."""

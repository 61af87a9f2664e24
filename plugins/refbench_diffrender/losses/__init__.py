"""Loss terms of the refinement and the kernels behind them."""

"""Several methods' DSMs joined into one."""

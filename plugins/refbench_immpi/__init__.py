"""ImMPI: multiplane images of an overhead scene from posed views."""

"""Hardware generators: the place for everything that writes RTL. It holds none yet."""

"""Where samples go: one module per kind of sink, behind one small protocol."""

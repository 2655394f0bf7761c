"""Anyone's network, rewritten as the few operations that have an integer form.

`torch.export` records what a network computes on an example: whatever it was written with, it is
then a graph of ATen's operators without side effects. `capture` makes that graph, `rules` say what
each operator is, `builder` puts a network of torch's own layers together, and `rewrite` makes sure
that it computes the same.
"""

"""Hardware generators: everything that writes RTL, emits it, and shows that it is right.

A circuit is a `rtl.design.Design`: parameters from which both the Amaranth component and its
software model are made.
"""

"""Networks as data, and the one place that turns that data into torch modules.

`catalogue`, `bounds`, `shapes` and `tables` do not import torch, so that a server can build and
check graphs without it; `load`, `modules` and `losses` do:
`from twofold.nets.load import load, init, Net`.
"""

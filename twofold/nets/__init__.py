"""Networks as data, and the one place that turns that data into torch modules.

`catalogue`, `bounds`, `shapes` and `tables` do not import torch, so that a server can build and
check graphs without it; `net`, `modules` and `losses` do:
`from twofold.nets.net import load, init, Net`.
"""

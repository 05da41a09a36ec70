"""The files of a version that an inferer reads, beside its manifest."""

from inferer import golden

GRAPH, WEIGHTS = "graph.pb", "weights.safetensors"
FILES = (GRAPH, WEIGHTS, golden.FILE)

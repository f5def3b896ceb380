"""How readers of ncnn networks call the image that goes in and the one that comes out."""

INPUT, OUTPUT = "data", "output"

"""Connectionist temporal classification (Graves et al. 2006): a unit or nothing at each moment, in place of a decoder.

Number 0, the vocabulary's padding, is the blank. Shapes: B samples, T moments, U units of a text, V vocabulary.
"""

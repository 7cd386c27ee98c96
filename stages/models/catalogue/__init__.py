"""What a model in service finds things among, in files that are memory-mapped: rows, and vectors by nearness.

Few vectors are compared one and all, many by an index that `register` keeps beside them.
"""

from stages.models.catalogue.index import Built, build_index, drawn
from stages.models.catalogue.rows import Rows, write_rows
from stages.models.catalogue.vectors import Vectors, mapped, write_vectors

__all__ = ["Built", "Rows", "Vectors", "build_index", "drawn", "mapped", "write_rows", "write_vectors"]

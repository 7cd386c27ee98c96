"""Cells of tables as people write them: what kind a column is, what a cell says, and the numbers a model reads.

A cell as written becomes a normalised one (`3.5`, `2024-03-01`, `true`, a category), by the habits of its column.
"""

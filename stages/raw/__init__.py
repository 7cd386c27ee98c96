"""Bytes in: files fetched and verified, archives read in place."""

"""Claims about speed, one file each; every one prints ratios against a named baseline measured in the same run."""

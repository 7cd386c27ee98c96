"""What people look at after an evaluation: figures and a page of samples."""

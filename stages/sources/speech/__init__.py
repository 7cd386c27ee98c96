"""Sources of recorded speech: digits, commands in front of a camera, sentences with a feeling."""

"""Content evidence: how alike a suspect and a training row are, whatever was done to one."""

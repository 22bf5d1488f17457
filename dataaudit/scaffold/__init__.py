"""`dataaudit init`: a first audit.yaml and my_model.py, from what lies in a folder."""

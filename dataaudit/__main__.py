"""`python -m dataaudit`: the command line."""

from dataaudit.cli import program

if __name__ == "__main__":
    program()

"""`python -m edgeai` is the command line."""

from edgeai.cli import main

if __name__ == "__main__":
    main()

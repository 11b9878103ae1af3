"""`python -m comp`."""

from comp.cli import main

if __name__ == "__main__":
    main()

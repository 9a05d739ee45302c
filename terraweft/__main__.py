"""`python -m terraweft`: the command line of this very interpreter, where no `terraweft` stands on the PATH."""

from terraweft.cli import main

if __name__ == "__main__":
    main()

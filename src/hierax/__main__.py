"""`python -m hierax` is the command line."""

from hierax.cli import main

raise SystemExit(main())

"""`python3 -m refract_analysis` is the command `refract-analysis`."""
import sys

from .command import main

sys.exit(main())

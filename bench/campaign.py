"""Random fits in random units, judged against SciPy: right, honestly failed, or silently wrong.

    python bench/campaign.py [--seed S] [--count N] [--json FILE] [--script FOLDER]

37 families of models x options x units of 10^-15 to 10^15 x noise of 0 to 20 % x starts off by up to 3 times; a problem
follows from its seed and index alone.  What the counts mean: docs/campaign.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from campaign_fits.cli import main

if __name__ == "__main__":
    sys.exit(main())

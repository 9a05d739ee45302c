"""Imported after all else, and for that alone, by the process of which workers are forked: see `flows.forking`.

What was imported is passed over by the collectors of all workers, whose memory stays shared for it.
"""

import gc

gc.freeze()

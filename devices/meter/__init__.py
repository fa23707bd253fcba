"""Energy meters: one file a meter, `address.py` opens one, `energy.py` measures with any."""

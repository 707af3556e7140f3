"""Read a run's outputs: EnergyPlus's database, and the Parquet sidecars that are made from it."""

"""What a run's outputs say: EnergyPlus's database, and the Parquet sidecars that are made from it."""

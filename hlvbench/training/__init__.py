"""Reference trainers: supervised fine-tuning and cross-annotator preference optimisation (CAPO)."""

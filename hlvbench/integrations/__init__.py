"""Where people already work: thin adapters that ask our questions and give our numbers in other harnesses."""

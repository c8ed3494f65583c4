"""Crops that the model was unsure of: chosen, kept, labelled by people, exported."""

"""The labelled images of a folder, zip or CSV, found but not decoded."""

"""Everything known about one model on one probe corpus, from one pass over the text."""

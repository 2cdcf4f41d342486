"""Text in: sources by URI, the embedded corpus, probe corpora, and the tokenizer-free segmentation."""

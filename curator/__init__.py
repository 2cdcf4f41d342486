"""Choose continued-pretraining data by the neurons that independently trained language models share."""

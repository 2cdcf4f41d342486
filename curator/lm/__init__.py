"""Language models, frozen: where their MLP neurons are, how they are loaded, tapped and fed."""

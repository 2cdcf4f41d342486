"""Jobs of the server: what they may touch (``places``), how they are kept (``store``), carried out (``runner``) and checked."""

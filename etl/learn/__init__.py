"""Training of the small models that travel with the package; needs the extra ``learn``."""

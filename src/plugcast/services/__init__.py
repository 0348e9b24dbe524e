"""What runs? Thin processes around the plain functions of the core rooms."""

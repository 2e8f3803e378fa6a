"""What runs beside the lessons and is not taught in them."""

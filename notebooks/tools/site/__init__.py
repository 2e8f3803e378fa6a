"""The series as a site: Sphinx and myst-nb show the lessons with their stored outputs."""

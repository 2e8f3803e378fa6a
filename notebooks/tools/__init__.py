"""Tools that execute the lessons and make their editions."""

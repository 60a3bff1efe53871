"""The checks, a module a section; sections have the letters of the ids."""

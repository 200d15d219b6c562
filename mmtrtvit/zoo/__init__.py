"""The configs, families and methods of the project, and the complexity of their networks."""
